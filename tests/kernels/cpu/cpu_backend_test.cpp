// SPDX-License-Identifier: Apache-2.0
// The CPU as a device: memory, copies, streams, and operations that reach their kernels.
#include "kernels/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "kernels/device/buffer.h"
#include "kernels/ops/ops.h"

namespace halfpipe::cpu {
namespace {

using device::Buffer;
using device::MemoryKind;

TEST(CpuBackend, AllocatesAlignedMemory) {
  const auto backend = make_cpu_backend(1);
  EXPECT_EQ(backend->name(), "cpu");
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{1} << 12, (std::size_t{5} << 20) + 3}) {
    for (const MemoryKind kind : {MemoryKind::kDevice, MemoryKind::kPinned}) {
      void* const pointer = backend->allocate(bytes, kind);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pointer) % kTensorAlignment, 0U);
      std::memset(pointer, 1, bytes);
      backend->deallocate(pointer, kind);
    }
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they end the process here
TEST(CpuBackend, NamesTheSizeThatItCannotAllocate) {
  const auto backend = make_cpu_backend(1);
  try {
    (void)backend->allocate(std::size_t{1} << 60, MemoryKind::kDevice);
    FAIL() << "allocated 2^60 bytes";
  } catch (const RuntimeFailure& failure) {
    EXPECT_NE(std::strstr(failure.what(), "1152921504606846976 bytes"), nullptr) << failure.what();
  }
}
#endif

TEST(CpuBackend, CopiesAndFillsAtOnce) {
  const auto backend = make_cpu_backend(2);
  const auto stream = backend->make_stream("copies");
  constexpr std::size_t kBytes = (std::size_t{3} << 20) + 17;  // several blocks, a ragged one
  std::vector<std::byte> host(kBytes);
  for (std::size_t i = 0; i < kBytes; ++i) host[i] = static_cast<std::byte>(i * 7 + i / 256);
  const Buffer buffer(*backend, kBytes);
  backend->copy_async(buffer.bytes_pointer(), host.data(), kBytes, *stream);
  EXPECT_EQ(std::memcmp(buffer.bytes_pointer(), host.data(), kBytes), 0);
  backend->fill_async(buffer.bytes_pointer(), std::byte{0x5A}, kBytes - 1, *stream);
  EXPECT_EQ(buffer.bytes_pointer()[0], std::byte{0x5A});
  EXPECT_EQ(buffer.bytes_pointer()[kBytes - 2], std::byte{0x5A});
  EXPECT_EQ(buffer.bytes_pointer()[kBytes - 1], host[kBytes - 1]);
}

TEST(CpuBackend, HasStreamsThatAreAlwaysDone) {
  const auto backend = make_cpu_backend(1);
  const auto stream = backend->make_stream("a");
  const auto other = backend->make_stream("b");
  const auto event = backend->make_event();
  event->synchronize();  // never recorded: done
  stream->record(*event);
  other->wait_for(*event);
  event->synchronize();
  other->synchronize();
}

TEST(CpuBackend, TellsTheTimeBetweenTwoMarks) {
  const auto backend = make_cpu_backend(1);
  const auto stream = backend->make_stream("work");
  const auto start = backend->make_event();
  const auto end = backend->make_event();
  stream->record(*start);
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  stream->record(*end);
  EXPECT_GE(end->seconds_since(*start), 0.003);
  EXPECT_EQ(start->seconds_since(*start), 0.0);
  EXPECT_DOUBLE_EQ(start->seconds_since(*end), -end->seconds_since(*start));
}

TEST(CpuBackend, RunsOperations) {
  const auto backend = make_cpu_backend(2);
  const auto stream = backend->make_stream("work");
  const ops::Ops& ops = backend->ops();
  const std::vector<float> x{1.0F, 2.0F, 3.0F, 4.0F};
  std::vector<float> y(4);
  ops::Matmul product{y.data(), x.data(), x.data(), nullptr, nullptr, 2,
                      2,        2,        false,    false,   false,   nullptr};
  std::vector<std::byte> product_scratch(ops.matmul_scratch_bytes(product));
  product.scratch = product_scratch.data();
  ops.matmul(product, *stream);
  EXPECT_EQ(y, (std::vector<float>{7.0F, 10.0F, 15.0F, 22.0F}));
  ops.accumulate({y.data(), x.data(), 4}, *stream);
  EXPECT_EQ(y, (std::vector<float>{8.0F, 12.0F, 18.0F, 26.0F}));
  double sum = 0.0;
  ASSERT_EQ(ops.num_square_blocks(4), 1);
  ops.sum_of_squares({&sum, x.data(), 4}, *stream);
  EXPECT_EQ(sum, 30.0);
}

TEST(CpuBackend, CountsScratchByElementType) {
  const auto backend = make_cpu_backend(1);
  const ops::Ops& ops = backend->ops();
  const ops::AttentionDims dims{1, 8, 1, 8};
  EXPECT_GT(ops.attention_forward_scratch_bytes(dims, DType::kBFloat16),
            ops.attention_forward_scratch_bytes(dims, DType::kFloat32));
  EXPECT_GT(ops.attention_backward_scratch_bytes(dims, DType::kBFloat16),
            ops.attention_backward_scratch_bytes(dims, DType::kFloat32));
  ops::Matmul product{};
  product.M = product.N = product.K = 8;
  product.dtype = DType::kBFloat16;
  EXPECT_GT(ops.matmul_scratch_bytes(product), 0U);
}

}  // namespace
}  // namespace halfpipe::cpu
