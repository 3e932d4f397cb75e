// SPDX-License-Identifier: Apache-2.0
// The GPU as a device: memory, copies, streams, events.
#include "kernels/cuda/cuda_backend.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "kernels/device/buffer.h"
#include "tests/kernels/cuda/cuda_environment.h"

namespace halfpipe::cuda {
namespace {

using device::Buffer;
using device::MemoryKind;
using testing::cuda_backend;

constexpr std::size_t kMebibyte = std::size_t{1} << 20;

std::vector<std::byte> pattern(std::size_t bytes) {
  std::vector<std::byte> values(bytes);
  for (std::size_t i = 0; i < bytes; ++i) values[i] = static_cast<std::byte>(i * 7 + i / 256);
  return values;
}

TEST(CudaBackend, AllocatesAlignedMemory) {
  EXPECT_EQ(cuda_backend().name(), "cuda");
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, 4096UL, 5 * kMebibyte + 3}) {
    for (const MemoryKind kind : {MemoryKind::kDevice, MemoryKind::kPinned}) {
      void* const pointer = cuda_backend().allocate(bytes, kind);
      ASSERT_NE(pointer, nullptr);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pointer) % kTensorAlignment, 0U);
      if (kind == MemoryKind::kPinned) std::memset(pointer, 1, bytes);
      cuda_backend().deallocate(pointer, kind);
    }
  }
}

TEST(CudaBackend, SaysWhatIsFreeOnWhichDevice) {
  constexpr std::int64_t kBytes = 64 * kMebibyte;
  const auto before = cuda_backend().own_memory();
  ASSERT_TRUE(before);
  EXPECT_FALSE(before->device.empty());
  const Buffer taken(cuda_backend(), kBytes);
  const auto after = cuda_backend().own_memory();
  ASSERT_TRUE(after);
  EXPECT_EQ(after->device, before->device);
  EXPECT_LE(after->free_bytes, before->free_bytes - kBytes);
  EXPECT_GT(after->free_bytes, 0);
}

TEST(CudaBackend, CopiesThroughTheDevice) {
  constexpr std::size_t kBytes = 3 * kMebibyte + 17;
  const std::vector<std::byte> host = pattern(kBytes);
  const auto stream = cuda_backend().make_stream("copies");
  const Buffer from(cuda_backend(), kBytes, MemoryKind::kPinned);
  const Buffer first(cuda_backend(), kBytes);
  const Buffer second(cuda_backend(), kBytes);
  const Buffer to(cuda_backend(), kBytes, MemoryKind::kPinned);
  std::memcpy(from.bytes_pointer(), host.data(), kBytes);
  std::memset(to.bytes_pointer(), 0, kBytes);
  cuda_backend().copy_async(first.bytes_pointer(), from.bytes_pointer(), kBytes, *stream);
  cuda_backend().copy_async(second.bytes_pointer(), first.bytes_pointer(), kBytes, *stream);
  cuda_backend().copy_async(to.bytes_pointer(), second.bytes_pointer(), kBytes, *stream);
  cuda_backend().copy_async(nullptr, nullptr, 0, *stream);
  stream->synchronize();
  EXPECT_EQ(std::memcmp(to.bytes_pointer(), host.data(), kBytes), 0);
}

TEST(CudaBackend, CopiesMemoryThatIsNotPinned) {
  const std::vector<std::byte> host = pattern(kMebibyte + 5);
  std::vector<std::byte> back(host.size());
  const auto stream = cuda_backend().make_stream("copies");
  const Buffer buffer(cuda_backend(), host.size());
  cuda_backend().copy_async(buffer.bytes_pointer(), host.data(), host.size(), *stream);
  cuda_backend().copy_async(back.data(), buffer.bytes_pointer(), host.size(), *stream);
  stream->synchronize();
  EXPECT_EQ(back, host);
}

void expect_fills(MemoryKind kind) {
  const std::vector<std::byte> host = pattern(1000);
  std::vector<std::byte> back(host.size());
  const auto stream = cuda_backend().make_stream("fills");
  const Buffer buffer(cuda_backend(), host.size(), kind);
  cuda_backend().copy_async(buffer.bytes_pointer(), host.data(), host.size(), *stream);
  cuda_backend().fill_async(buffer.bytes_pointer() + 1, std::byte{0xA5}, host.size() - 2, *stream);
  cuda_backend().fill_async(nullptr, std::byte{1}, 0, *stream);
  cuda_backend().copy_async(back.data(), buffer.bytes_pointer(), host.size(), *stream);
  stream->synchronize();
  EXPECT_EQ(back.front(), host.front());
  EXPECT_EQ(back[1], std::byte{0xA5});
  EXPECT_EQ(back[host.size() - 2], std::byte{0xA5});
  EXPECT_EQ(back.back(), host.back());
}

TEST(CudaBackend, FillsDeviceMemory) {
  expect_fills(MemoryKind::kDevice);
}
TEST(CudaBackend, FillsPinnedMemory) {
  expect_fills(MemoryKind::kPinned);
}

TEST(CudaBackend, WaitsForEventsOfOtherStreams) {
  constexpr std::size_t kBytes = 256 * kMebibyte;
  const auto producer = cuda_backend().make_stream("producer");
  const auto consumer = cuda_backend().make_stream("consumer");
  const auto produced = cuda_backend().make_event();
  const Buffer buffer(cuda_backend(), kBytes);
  const Buffer last(cuda_backend(), 1, MemoryKind::kPinned);
  // Each is about 0.1 ms on an H100: a consumer that did not wait would read an earlier value.
  for (int i = 0; i <= 100; ++i) {
    cuda_backend().fill_async(buffer.bytes_pointer(), static_cast<std::byte>(i), kBytes, *producer);
  }
  producer->record(*produced);
  consumer->wait_for(*produced);
  cuda_backend().copy_async(last.bytes_pointer(), buffer.bytes_pointer() + kBytes - 1, 1,
                            *consumer);
  consumer->synchronize();
  EXPECT_EQ(*last.bytes_pointer(), std::byte{100});
  produced->synchronize();
}

TEST(CudaBackend, TakesAnEventThatWasNeverRecordedAsDone) {
  const auto stream = cuda_backend().make_stream("work");
  const auto event = cuda_backend().make_event();
  event->synchronize();
  stream->wait_for(*event);
  stream->synchronize();
}

TEST(CudaBackend, TellsTheTimeBetweenTwoMarks) {
  constexpr std::size_t kBytes = 256 * kMebibyte;
  const auto stream = cuda_backend().make_stream("work");
  const auto start = cuda_backend().make_event();
  const auto end = cuda_backend().make_event();
  const Buffer buffer(cuda_backend(), kBytes);
  stream->synchronize();
  const auto host_start = std::chrono::steady_clock::now();
  stream->record(*start);
  for (int i = 0; i < 20; ++i) {
    cuda_backend().fill_async(buffer.bytes_pointer(), std::byte{1}, kBytes, *stream);
  }
  stream->record(*end);
  end->synchronize();
  const std::chrono::duration<double> host_seconds = std::chrono::steady_clock::now() - host_start;
  // 5 GiB at 20 TB/s, more than any memory has, take 0.27 ms.
  EXPECT_GT(end->seconds_since(*start), 0.00027);
  EXPECT_LT(end->seconds_since(*start), host_seconds.count() + 0.001);
  EXPECT_EQ(start->seconds_since(*start), 0.0);
}

// Ranks that are threads of one process, each with a backend of its own.
TEST(CudaBackend, WorksForThreadsThatShareTheDevice) {
  constexpr int kNumRanks = 4;
  constexpr std::size_t kBytes = kMebibyte + 3;
  std::vector<std::vector<std::byte>> results(kNumRanks, std::vector<std::byte>(kBytes));
  {
    std::vector<std::jthread> ranks;
    for (int rank = 0; rank < kNumRanks; ++rank) {
      ranks.emplace_back([rank, &result = results[static_cast<std::size_t>(rank)]] {
        const auto backend = make_cuda_backend(/*device_index=*/0);
        const auto stream = backend->make_stream("work");
        const Buffer buffer(*backend, kBytes);
        backend->fill_async(buffer.bytes_pointer(), static_cast<std::byte>(rank + 1), kBytes,
                            *stream);
        backend->copy_async(result.data(), buffer.bytes_pointer(), kBytes, *stream);
        stream->synchronize();
      });
    }
  }
  for (int rank = 0; rank < kNumRanks; ++rank) {
    const std::vector<std::byte> expected(kBytes, static_cast<std::byte>(rank + 1));
    EXPECT_EQ(results[static_cast<std::size_t>(rank)], expected) << "rank " << rank;
  }
}

TEST(CudaBackend, NamesTheSizeThatItCannotAllocate) {
  for (const MemoryKind kind : {MemoryKind::kDevice, MemoryKind::kPinned}) {
    try {
      (void)cuda_backend().allocate(std::size_t{1} << 60, kind);
      FAIL() << "allocated 2^60 bytes";
    } catch (const RuntimeFailure& failure) {
      const std::string message = failure.what();
      EXPECT_NE(message.find("1152921504606846976 bytes"), std::string::npos) << message;
      EXPECT_EQ(message.find("MiB are free") != std::string::npos, kind == MemoryKind::kDevice)
          << message;
    }
  }
  expect_fills(MemoryKind::kDevice);  // the failure left nothing behind
}

TEST(CudaBackend, RefusesDevicesThatDoNotExist) {
  EXPECT_THROW((void)make_cuda_backend(-1), UserError);
  EXPECT_THROW((void)make_cuda_backend(1000), UserError);
}

}  // namespace
}  // namespace halfpipe::cuda
