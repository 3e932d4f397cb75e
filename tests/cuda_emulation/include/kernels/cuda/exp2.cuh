// SPDX-License-Identifier: Apache-2.0
// Found before the header of this name beside the kernels.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <limits>

namespace halfpipe::cuda {

[[nodiscard]] inline float exp2_approx(float x) {
  const float result = std::exp2(x);
  return result < std::numeric_limits<float>::min() ? 0.0F : result;
}

}  // namespace halfpipe::cuda
