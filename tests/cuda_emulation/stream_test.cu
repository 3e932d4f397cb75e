// SPDX-License-Identifier: Apache-2.0
// Streams and events: work runs in the order that was asked for, and what was not asked for goes
// wrong under some schedule.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/launch.h"
#include "tests/cuda_emulation/global_memory.h"
#include "tests/cuda_emulation/schedule.h"

namespace halfpipe::cuda {
namespace {

using cuda_emulation::GlobalMemory;
using cuda_emulation::Schedule;

constexpr int kCount = 64;

__global__ void add_kernel(int* out, const int* a, int b) {
  out[threadIdx.x] = a[threadIdx.x] + b;
}

void add(int* out, const int* a, int b, cudaStream_t stream) {
  launch(add_kernel, dim3(1), dim3(kCount), 0, stream, out, a, b);
}

class StreamTest : public testing::Test {
 protected:
  StreamTest() {
    for (cudaStream_t* stream : {&first_, &second_}) {
      cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking);
    }
    for (cudaEvent_t* event : {&event_, &other_event_}) cudaEventCreate(event);
  }
  ~StreamTest() override {
    cuda_emulation::set_schedule(before_);
    for (const cudaStream_t stream : {first_, second_}) cudaStreamDestroy(stream);
    for (const cudaEvent_t event : {event_, other_event_}) cudaEventDestroy(event);
  }

  template <typename IsRight>
  int num_wrong(IsRight is_right) {
    int wrong = 0;
    for (const Schedule& schedule : cuda_emulation::schedules_to_try()) {
      cuda_emulation::set_schedule(schedule);
      if (!is_right()) ++wrong;
    }
    return wrong;
  }

  cudaStream_t first_ = nullptr;
  cudaStream_t second_ = nullptr;
  cudaEvent_t event_ = nullptr;
  cudaEvent_t other_event_ = nullptr;

 private:
  Schedule before_ = cuda_emulation::current_schedule();
};

TEST_F(StreamTest, WorkOfAStreamRunsInOrder) {
  EXPECT_EQ(num_wrong([&] {
              const GlobalMemory<int> x(kCount);
              cudaMemsetAsync(x.get(), 0, kCount * sizeof(int), first_);
              for (int i = 0; i < 5; ++i) add(x.get(), x.get(), i, first_);
              cudaStreamSynchronize(first_);
              return x.read() == std::vector<int>(kCount, 10);
            }),
            0);
}

TEST_F(StreamTest, MissingWaitForTheWriter) {
  const auto adds = [&](bool wait) {
    const GlobalMemory<int> x(std::vector<int>(kCount, 1));
    const GlobalMemory<int> y(kCount);
    const GlobalMemory<int> z(kCount);
    add(y.get(), x.get(), 10, first_);
    cudaEventRecord(event_, first_);
    if (wait) cudaStreamWaitEvent(second_, event_);
    add(z.get(), y.get(), 100, second_);
    cudaStreamSynchronize(second_);
    return z.read() == std::vector<int>(kCount, 111);
  };
  EXPECT_EQ(num_wrong([&] { return adds(true); }), 0);
  EXPECT_GE(num_wrong([&] { return adds(false); }), 1);
}

TEST_F(StreamTest, MissingWaitForTheReader) {
  const auto adds = [&](bool wait) {
    const GlobalMemory<int> x(std::vector<int>(kCount, 1));
    const GlobalMemory<int> y(kCount);
    add(y.get(), x.get(), 10, first_);
    cudaEventRecord(event_, first_);
    if (wait) cudaStreamWaitEvent(second_, event_);
    cudaMemsetAsync(x.get(), 0, kCount * sizeof(int), second_);
    cudaStreamSynchronize(first_);
    cudaStreamSynchronize(second_);
    return y.read() == std::vector<int>(kCount, 11);
  };
  EXPECT_EQ(num_wrong([&] { return adds(true); }), 0);
  EXPECT_GE(num_wrong([&] { return adds(false); }), 1);
}

TEST_F(StreamTest, PinnedMemoryReadWithoutSynchronising) {
  const auto copies = [&](bool wait) {
    const GlobalMemory<int> x(std::vector<int>(kCount, 7));
    int* pinned = nullptr;
    cudaMallocHost(&pinned, kCount * sizeof(int));
    cudaMemcpyAsync(pinned, x.get(), kCount * sizeof(int), cudaMemcpyDeviceToHost, first_);
    if (wait) cudaStreamSynchronize(first_);
    const bool right = pinned[0] == 7 && pinned[kCount - 1] == 7;
    cudaFreeHost(pinned);
    return right;
  };
  EXPECT_EQ(num_wrong([&] { return copies(true); }), 0);
  EXPECT_GE(num_wrong([&] { return copies(false); }), 1);
}

TEST_F(StreamTest, EventsAreReachedAndKeepTime) {
  EXPECT_EQ(num_wrong([&] {
              const GlobalMemory<int> x(std::vector<int>(kCount, 0));
              cudaEventRecord(event_, first_);
              add(x.get(), x.get(), 1, first_);
              cudaEventRecord(other_event_, first_);
              while (cudaEventQuery(other_event_) == cudaErrorNotReady) {
              }
              float milliseconds = -1.0F;
              return x.read() == std::vector<int>(kCount, 1) &&
                     cudaEventElapsedTime(&milliseconds, event_, other_event_) == cudaSuccess &&
                     milliseconds >= 0.0F;
            }),
            0);
}

TEST_F(StreamTest, AnEventNeverRecordedIsReached) {
  EXPECT_EQ(cudaEventQuery(event_), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(event_), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(first_, event_), cudaSuccess);
  float milliseconds = 0.0F;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, event_, event_), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
}  // namespace halfpipe::cuda
