// SPDX-License-Identifier: Apache-2.0
// Found before the header of this name beside the kernels. Sums run over k = 0 .. 15 in float32
// with one rounding per product; a GPU adds in another order, without saying which.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "tests/cuda_emulation/matrix_functions.h"

namespace halfpipe::cuda {

inline void mma_m16n8k16(float (&d)[4],
                         const std::uint32_t (&a)[4],
                         std::uint32_t b0,
                         std::uint32_t b1) {
  cuda_emulation::multiply_matrices(d, a, b0, b1);
}

inline void load_matrices(std::uint32_t (&out)[4], const void* shared_row) {
  cuda_emulation::load_matrices(out, shared_row, /*transposed=*/false);
}

inline void load_matrices_transposed(std::uint32_t (&out)[4], const void* shared_row) {
  cuda_emulation::load_matrices(out, shared_row, /*transposed=*/true);
}

}  // namespace halfpipe::cuda
