// SPDX-License-Identifier: Apache-2.0
// The threads of a block: indices, barriers, shuffles, shared memory.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/cuda/dynamic_shared.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp_reduce.cuh"
#include "tests/cuda_emulation/global_memory.h"

namespace halfpipe::cuda {
namespace {

using cuda_emulation::GlobalMemory;

constexpr int kThreads = 256;

__global__ void write_index_kernel(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
  out[i] = static_cast<int>(i);
}

TEST(Block, EveryThreadOfEveryBlockRuns) {
  const GlobalMemory<int> out(5 * 3 * 2 * 4 * 4 * 4);
  launch(write_index_kernel, dim3(5, 3, 2), dim3(4, 4, 4), 0, nullptr, out.get());
  int expected = 0;
  for (const int value : out.read()) EXPECT_EQ(value, expected++);
}

// (x - mean) / sqrt(variance + eps) of each row, a block per row.
__global__ void __launch_bounds__(kThreads)
    standardise_kernel(float* out, const float* x, std::int64_t C, float eps) {
  __shared__ float partial[2][kThreads / kWarpSize];
  const float* row = x + blockIdx.x * C;
  float sum = 0.0F;
  for (std::int64_t c = threadIdx.x; c < C; c += kThreads) sum += row[c];
  const float mean = block_sum<kThreads>(sum, partial[0]) / static_cast<float>(C);
  float squares = 0.0F;
  for (std::int64_t c = threadIdx.x; c < C; c += kThreads) {
    squares += (row[c] - mean) * (row[c] - mean);
  }
  const float variance = block_sum<kThreads>(squares, partial[1]) / static_cast<float>(C);
  for (std::int64_t c = threadIdx.x; c < C; c += kThreads) {
    out[blockIdx.x * C + c] = (row[c] - mean) * rsqrtf(variance + eps);
  }
}

TEST(Block, StandardisesRows) {
  constexpr std::int64_t kRows = 37;
  constexpr std::int64_t kColumns = 771;
  std::vector<float> x(kRows * kColumns);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 2654435761U % 1000);
  const GlobalMemory<float> global_x(x);
  const GlobalMemory<float> global_out(x.size());
  launch(standardise_kernel, dim3(kRows), dim3(kThreads), 0, nullptr, global_out.get(),
         global_x.get(), kColumns, 1e-5F);
  const std::vector<float> out = global_out.read();
  for (std::int64_t r = 0; r < kRows; ++r) {
    const float* row = &x[static_cast<std::size_t>(r * kColumns)];
    double mean = 0.0;
    for (std::int64_t c = 0; c < kColumns; ++c) mean += row[c] / double{kColumns};
    double variance = 0.0;
    for (std::int64_t c = 0; c < kColumns; ++c) {
      variance += (row[c] - mean) * (row[c] - mean) / double{kColumns};
    }
    for (std::int64_t c = 0; c < kColumns; ++c) {
      const double expected = (row[c] - mean) / std::sqrt(variance + 1e-5);
      ASSERT_NEAR(out[static_cast<std::size_t>(r * kColumns + c)], expected, 1e-5);
    }
  }
}

// Each thread's value, from the other end of the block.
__global__ void reverse_kernel(int* out, const int* in) {
  HALFPIPE_DYNAMIC_SHARED(shared);
  int* values = reinterpret_cast<int*>(shared);
  values[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}

TEST(Block, ReversesThroughDynamicSharedMemory) {
  std::vector<int> in(1000);
  for (int i = 0; i < 1000; ++i) in[static_cast<std::size_t>(i)] = i;
  const GlobalMemory<int> global_in(in);
  const GlobalMemory<int> out(in.size());
  launch(reverse_kernel, dim3(1), dim3(1000), 4000, nullptr, out.get(), global_in.get());
  int expected = 999;
  for (const int value : out.read()) EXPECT_EQ(value, expected--);
}

}  // namespace
}  // namespace halfpipe::cuda
