// SPDX-License-Identifier: Apache-2.0
// Faults on purpose: each is caught, by a wrong result under some schedule or by an end of the
// process that names the place.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/dynamic_shared.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp_reduce.cuh"
#include "tests/cuda_emulation/global_memory.h"
#include "tests/cuda_emulation/schedule.h"

namespace halfpipe::cuda {
namespace {

using cuda_emulation::GlobalMemory;
using cuda_emulation::Schedule;

/// The number of schedules under which `is_right()` is false.
template <typename IsRight>
int num_wrong(IsRight is_right) {
  const Schedule before = cuda_emulation::current_schedule();
  int wrong = 0;
  for (const Schedule& schedule : cuda_emulation::schedules_to_try()) {
    cuda_emulation::set_schedule(schedule);
    if (!is_right()) ++wrong;
  }
  cuda_emulation::set_schedule(before);
  return wrong;
}

class FaultsDeathTest : public testing::Test {
 protected:
  // The emulation has threads of its own, which a fork would lose.
  FaultsDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

std::vector<int> counting(int count) {
  std::vector<int> values;
  for (int i = 0; i < count; ++i) values.push_back(i);
  return values;
}

// ---- barriers ----------------------------------------------------------------------------------

template <bool kWithBarrier>
__global__ void reverse_kernel(int* out, const int* in) {
  HALFPIPE_DYNAMIC_SHARED(shared);
  int* values = reinterpret_cast<int*>(shared);
  values[threadIdx.x] = in[threadIdx.x];
  if constexpr (kWithBarrier) __syncthreads();
  out[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}

template <bool kWithBarrier>
bool reverses() {
  const GlobalMemory<int> in(counting(256));
  const GlobalMemory<int> out(256);
  launch(reverse_kernel<kWithBarrier>, dim3(1), dim3(256), 1024, nullptr, out.get(), in.get());
  int expected = 256;
  for (const int value : out.read()) {
    if (value != --expected) return false;
  }
  return true;
}

TEST(Faults, BarrierRemoved) {
  EXPECT_EQ(num_wrong(reverses<true>), 0);
  EXPECT_EQ(num_wrong(reverses<false>), 6);
}

// The second barrier keeps a fast warp from overwriting what a slow one has yet to read.
template <bool kWithBarrier>
__global__ void sum_twice_kernel(float* out, const float* in) {
  __shared__ float partial[4];
  const float first = block_sum<128>(in[threadIdx.x], partial);
  if constexpr (kWithBarrier) __syncthreads();
  const float second = block_sum<128>(first * in[threadIdx.x], partial);
  out[threadIdx.x] = first + second;
}

template <bool kWithBarrier>
bool sums_twice() {
  const GlobalMemory<float> in(std::vector<float>(128, 0.5F));
  const GlobalMemory<float> out(128);
  launch(sum_twice_kernel<kWithBarrier>, dim3(1), dim3(128), 0, nullptr, out.get(), in.get());
  for (const float value : out.read()) {
    if (value != 64.0F + 64.0F * 64.0F) return false;
  }
  return true;
}

TEST(Faults, BarrierBeforeReuseRemoved) {
  EXPECT_EQ(num_wrong(sums_twice<true>), 0);
  EXPECT_GE(num_wrong(sums_twice<false>), 1);
}

__global__ void read_unwritten_kernel(float* out) {
  __shared__ float values[32];
  if (threadIdx.x < 31) values[threadIdx.x] = 1.0F;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

TEST(Faults, StaticSharedMemoryReadBeforeItIsWritten) {
  const GlobalMemory<float> out(32);
  launch(read_unwritten_kernel, dim3(1), dim3(32), 0, nullptr, out.get());
  EXPECT_EQ(out.read()[30], 1.0F);
  EXPECT_TRUE(std::isnan(out.read()[31]));
}

__global__ void some_skip_barrier_kernel(int* out) {
  if (threadIdx.x < 40) __syncthreads();
  out[threadIdx.x] = 1;
}

TEST_F(FaultsDeathTest, BarrierNotReachedByAllThreads) {
  const GlobalMemory<int> out(64);
  EXPECT_DEATH(
      {
        launch(some_skip_barrier_kernel, dim3(2), dim3(64), 0, nullptr, out.get());
        cudaDeviceSynchronize();
      },

      "barrier is not reached by all threads.*\n.*kernel "
      "halfpipe::cuda::.*some_skip_barrier_kernel.*block \\([01], 0, 0\\)");
}

__global__ void divergent_shuffle_kernel(int* out) {
  int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x % 2 == 0) value = __shfl_xor_sync(kAllLanes, value, 2);
  out[threadIdx.x] = value;
}

TEST_F(FaultsDeathTest, ShuffleOfSomeLanesWithFullMask) {
  const GlobalMemory<int> out(32);
  EXPECT_DEATH(
      {
        launch(divergent_shuffle_kernel, dim3(1), dim3(32), 0, nullptr, out.get());
        cudaDeviceSynchronize();
      },
      "divergent_shuffle_kernel");
}

__global__ void two_shuffles_kernel(int* out) {
  int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x < 16) {
    value = __shfl_xor_sync(kAllLanes, value, 2);
  } else {
    __syncwarp();
  }
  out[threadIdx.x] = value;
}

TEST_F(FaultsDeathTest, LanesCallDifferentFunctions) {
  const GlobalMemory<int> out(32);
  EXPECT_DEATH(
      {
        launch(two_shuffles_kernel, dim3(1), dim3(32), 0, nullptr, out.get());
        cudaDeviceSynchronize();
      },
      "lanes diverge.*\n.*two_shuffles_kernel");
}

// ---- asynchronous copies -----------------------------------------------------------------------

// Two stages of 16 bytes per thread; each thread sums what its neighbour copied.
template <bool kWait, bool kBarrierBeforeRefill>
__global__ void sum_stages_kernel(int* out, const int* in, int num_tiles) {
  HALFPIPE_DYNAMIC_SHARED(shared);
  auto* stages = reinterpret_cast<int*>(shared);  // [2, 64 threads, 4]
  const auto thread = static_cast<int>(threadIdx.x);
  const auto start = [&](int tile) {
    copy_async_16(&stages[(tile % 2 * 64 + thread) * 4], &in[(tile * 64 + thread) * 4]);
    commit_copies();
  };
  int sum = 0;
  start(0);
  for (int tile = 0; tile < num_tiles; ++tile) {
    if (tile + 1 < num_tiles) {
      start(tile + 1);
    } else {
      commit_copies();
    }
    if constexpr (kWait) wait_for_copies<1>();
    __syncthreads();
    for (int i = 0; i < 4; ++i) sum += stages[(tile % 2 * 64 + (thread + 33) % 64) * 4 + i];
    if constexpr (kBarrierBeforeRefill) __syncthreads();
  }
  out[thread] = sum;
}

template <bool kWait, bool kBarrierBeforeRefill>
bool sums_stages() {
  constexpr int kTiles = 6;
  const std::vector<int> values = counting(kTiles * 64 * 4);
  const GlobalMemory<int> in(values);
  const GlobalMemory<int> out(64);
  launch(sum_stages_kernel<kWait, kBarrierBeforeRefill>, dim3(1), dim3(64), 2 * 64 * 16, nullptr,
         out.get(), in.get(), kTiles);
  const std::vector<int> sums = out.read();
  for (std::size_t thread = 0; thread < 64; ++thread) {
    int expected = 0;
    for (std::size_t tile = 0; tile < kTiles; ++tile) {
      for (std::size_t i = 0; i < 4; ++i) {
        expected += values[(tile * 64 + (thread + 33) % 64) * 4 + i];
      }
    }
    if (sums[thread] != expected) return false;
  }
  return true;
}

TEST(Faults, WaitForCopiesRemoved) {
  EXPECT_EQ(num_wrong(sums_stages<true, true>), 0);
  EXPECT_GE(num_wrong(sums_stages<false, true>), 1);
}

// Only a copy that lands early shows it.
TEST(Faults, BufferRefilledWhileOthersReadIt) {
  EXPECT_GE(num_wrong(sums_stages<true, false>), 1);
}

// ---- out of bounds -----------------------------------------------------------------------------

__global__ void write_shared_kernel(unsigned index) {
  HALFPIPE_DYNAMIC_SHARED(shared);
  shared[index] = std::byte{1};
}

TEST_F(FaultsDeathTest, WriteJustPastDynamicSharedMemory) {
  launch(write_shared_kernel, dim3(1), dim3(1), 100, nullptr, 99U);
  cudaDeviceSynchronize();
  EXPECT_DEATH(
      {
        launch(write_shared_kernel, dim3(1), dim3(1), 100, nullptr, 100U);
        cudaDeviceSynchronize();
      },

      "past the end of the dynamic shared memory of 100 bytes.*\n.*write_shared_kernel");
}

__global__ void write_global_kernel(char* out, int index) {
  out[index] = 1;
}

TEST_F(FaultsDeathTest, WriteJustOutsideOfAnAllocation) {
  const GlobalMemory<char> out(1000);
  for (const int index : {-1, 1000}) {
    EXPECT_DEATH(
        {
          launch(write_global_kernel, dim3(1), dim3(1), 0, nullptr, out.get(), index);
          cudaDeviceSynchronize();
        },
        "write .* an allocation of 1000 bytes.*\n.*write_global_kernel");
  }
}

TEST_F(FaultsDeathTest, CopyPastTheEnd) {
  const GlobalMemory<char> a(100);
  const GlobalMemory<char> b(200);
  EXPECT_DEATH(cudaMemcpyAsync(a.get(), b.get(), 200, cudaMemcpyDeviceToDevice, nullptr),
               "past the end of an allocation of 100 bytes");
}

TEST(Faults, LaunchThatADeviceRefuses) {
  EXPECT_THROW(launch(write_shared_kernel, dim3(1), dim3(1025), 0, nullptr, 0U), RuntimeFailure);
  EXPECT_THROW(launch(write_shared_kernel, dim3(1, 65536), dim3(1), 0, nullptr, 0U),
               RuntimeFailure);
  EXPECT_THROW(launch(write_shared_kernel, dim3(0), dim3(1), 0, nullptr, 0U), RuntimeFailure);
  EXPECT_THROW(launch(write_shared_kernel, dim3(1), dim3(1), 228 * 1024, nullptr, 0U),
               RuntimeFailure);
}

}  // namespace
}  // namespace halfpipe::cuda
