// SPDX-License-Identifier: Apache-2.0
// How far a result in float32 or bfloat16 may be from its float64 reference.
#pragma once

#include "kernels/core/dtype.h"
#include "tests/kernels/compare.h"

namespace halfpipe::testing {

/// For results that are computed in float32, off by float32_tolerance there, and rounded once to
/// dtype. Each element of bfloat16 is off by half a unit in its last place at most, and so is their
/// norm.
[[nodiscard]] constexpr double element_tolerance(DType dtype, double float32_tolerance) {
  return float32_tolerance + (dtype == DType::kBFloat16 ? kBFloat16Rounding : 0.0);
}

}  // namespace halfpipe::testing
