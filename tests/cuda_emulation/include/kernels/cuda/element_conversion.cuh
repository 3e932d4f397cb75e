// SPDX-License-Identifier: Apache-2.0
// Found before the header of this name beside the kernels.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/core/bfloat16.h"

namespace halfpipe::cuda {

[[nodiscard]] inline float widen(std::uint16_t bits) {
  return to_float(BFloat16{bits});
}

[[nodiscard]] inline std::uint16_t round_to_bits(float value) {
  return to_bfloat16(value).bits;
}

[[nodiscard]] inline std::uint32_t round_pair_to_bits(float low, float high) {
  return static_cast<std::uint32_t>(round_to_bits(low)) |
         (static_cast<std::uint32_t>(round_to_bits(high)) << 16);
}

}  // namespace halfpipe::cuda
