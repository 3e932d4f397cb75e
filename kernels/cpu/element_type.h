// SPDX-License-Identifier: Apache-2.0
// The element types that kernels compute with, as a template parameter: float and BFloat16.
#pragma once

#include "kernels/core/bfloat16.h"
#include "kernels/core/dtype.h"
#include "kernels/core/error.h"

namespace halfpipe::cpu {

/// Beside to_float(BFloat16), so that one template reads both.
[[nodiscard]] constexpr float to_float(float value) {
  return value;
}

/// Runs body.template operator()<T>() with the type that dtype names.
template <typename Body>
void with_element_type(DType dtype, const Body& body) {
  if (dtype == DType::kBFloat16) {
    body.template operator()<BFloat16>();
    return;
  }
  HALFPIPE_CHECK(dtype == DType::kFloat32, "kernels compute in float32 and bfloat16");
  body.template operator()<float>();
}

}  // namespace halfpipe::cpu
