// SPDX-License-Identifier: Apache-2.0
// The warp-wide matrix instructions; contracts in kernels/cuda/tensor_core.cuh.
#pragma once

#include <cstdint>

namespace halfpipe::cuda_emulation {

void multiply_matrices(float (&d)[4],
                       const std::uint32_t (&a)[4],
                       std::uint32_t b0,
                       std::uint32_t b1);

void load_matrices(std::uint32_t (&out)[4], const void* row, bool transposed);

}  // namespace halfpipe::cuda_emulation
