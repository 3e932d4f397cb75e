// SPDX-License-Identifier: Apache-2.0
// The warp-wide matrix instructions: where each lane's elements are, and a product made of them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/core/bfloat16.h"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/dynamic_shared.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/tensor_core.cuh"
#include "kernels/cuda/warp_reduce.cuh"
#include "tests/cuda_emulation/global_memory.h"

namespace halfpipe::cuda {
namespace {

using cuda_emulation::GlobalMemory;

template <bool kTransposed>
__global__ void load_kernel(std::uint32_t* out) {  // [32 lanes, 4]
  __shared__ __align__(16) std::uint16_t rows[32][8];
  for (int i = 0; i < 8; ++i)
    rows[threadIdx.x][i] = static_cast<std::uint16_t>(8 * threadIdx.x + i);
  __syncwarp();
  std::uint32_t pairs[4];
  if constexpr (kTransposed) {
    load_matrices_transposed(pairs, rows[threadIdx.x]);
  } else {
    load_matrices(pairs, rows[threadIdx.x]);
  }
  for (int i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = pairs[i];
}

// Element [r, c] of matrix i has the value 64 i + 8 r + c.
TEST(Matrix, LoadsByTheDefinitionOfLdmatrix) {
  const GlobalMemory<std::uint32_t> plain(128);
  const GlobalMemory<std::uint32_t> transposed(128);
  launch(load_kernel<false>, dim3(1), dim3(32), 0, nullptr, plain.get());
  launch(load_kernel<true>, dim3(1), dim3(32), 0, nullptr, transposed.get());
  const std::vector<std::uint32_t> of_plain = plain.read();
  const std::vector<std::uint32_t> of_transposed = transposed.read();
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    for (std::uint32_t i = 0; i < 4; ++i) {
      const std::uint32_t row = lane / 4;
      const std::uint32_t column = 2 * (lane % 4);
      const std::uint32_t low = 64 * i + 8 * row + column;
      EXPECT_EQ(of_plain[4 * lane + i], low | (low + 1) << 16);
      const std::uint32_t low_transposed = 64 * i + 8 * column + row;
      EXPECT_EQ(of_transposed[4 * lane + i], low_transposed | (low_transposed + 8) << 16);
    }
  }
}

constexpr int kTile = 32;   // rows and columns of a block's part of c
constexpr int kDepth = 16;  // of one step
constexpr int kWarps = 4;   // each 16 rows by 16 columns
constexpr int kPaddedDepth = kDepth + 8;
constexpr int kPaddedTile = kTile + 8;

// c = a b: a [M, K], b [K, N], both row-major bfloat16; M, N multiples of kTile, K of kDepth.
__global__ void __launch_bounds__(kWarps* kWarpSize)
    multiply_kernel(float* c, const BFloat16* a, const BFloat16* b, int N, int K) {
  HALFPIPE_DYNAMIC_SHARED(shared);
  auto* a_tile = reinterpret_cast<BFloat16*>(shared);  // [kTile, kPaddedDepth]
  auto* b_tile = a_tile + kTile * kPaddedDepth;        // [kDepth, kPaddedTile]
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarpSize;
  const int warp = thread / kWarpSize;
  const int first_row = static_cast<int>(blockIdx.y) * kTile;
  const int first_column = static_cast<int>(blockIdx.x) * kTile;
  const int warp_row = warp / 2 * 16;
  const int warp_column = warp % 2 * 16;
  float sums[2][4] = {};
  for (int k = 0; k < K; k += kDepth) {
    if (thread < 64) {
      const int row = thread / 2;
      const int column = thread % 2 * 8;
      copy_async_16(&a_tile[row * kPaddedDepth + column], &a[(first_row + row) * K + k + column]);
    } else {
      const int row = (thread - 64) / 4;
      const int column = (thread - 64) % 4 * 8;
      copy_async_16(&b_tile[row * kPaddedTile + column], &b[(k + row) * N + first_column + column]);
    }
    commit_copies();
    wait_for_copies<0>();
    __syncthreads();
    std::uint32_t a_part[4];
    load_matrices(a_part, &a_tile[(warp_row + lane % 16) * kPaddedDepth + lane / 16 * 8]);
    std::uint32_t b_part[4];
    load_matrices_transposed(b_part,
                             &b_tile[lane % 16 * kPaddedTile + warp_column + lane / 16 * 8]);
    mma_m16n8k16(sums[0], a_part, b_part[0], b_part[1]);
    mma_m16n8k16(sums[1], a_part, b_part[2], b_part[3]);
    __syncthreads();
  }
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 4; ++i) {
      const int row = first_row + warp_row + lane / 4 + i / 2 * 8;
      const int column = first_column + warp_column + half * 8 + 2 * (lane % 4) + i % 2;
      c[row * N + column] = sums[half][i];
    }
  }
}

TEST(Matrix, ProductAgreesWithFloat64) {
  constexpr int M = 96;
  constexpr int N = 64;
  constexpr int K = 128;
  const auto values = [](std::size_t count, std::uint32_t factor) {
    std::vector<BFloat16> result(count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto scrambled = static_cast<std::uint32_t>(i) * factor >> 20;
      result[i] = to_bfloat16(static_cast<float>(scrambled) / 2048.0F - 1.0F);
    }
    return result;
  };
  const std::vector<BFloat16> a = values(M * K, 2654435761U);
  const std::vector<BFloat16> b = values(K * N, 2246822519U);
  const GlobalMemory<BFloat16> global_a(a);
  const GlobalMemory<BFloat16> global_b(b);
  const GlobalMemory<float> global_c(M * N);
  const std::size_t shared_bytes = (kTile * kPaddedDepth + kDepth * kPaddedTile) * sizeof(BFloat16);
  launch(multiply_kernel, dim3(N / kTile, M / kTile), dim3(kWarps * kWarpSize), shared_bytes,
         nullptr, global_c.get(), global_a.get(), global_b.get(), N, K);
  const std::vector<float> c = global_c.read();
  for (std::size_t m = 0; m < M; ++m) {
    for (std::size_t n = 0; n < N; ++n) {
      double expected = 0.0;
      for (std::size_t k = 0; k < K; ++k) {
        expected += double{to_float(a[m * K + k])} * double{to_float(b[k * N + n])};
      }
      ASSERT_NEAR(c[m * N + n], expected, 1e-5) << "[" << m << ", " << n << "]";
    }
  }
}

}  // namespace
}  // namespace halfpipe::cuda
