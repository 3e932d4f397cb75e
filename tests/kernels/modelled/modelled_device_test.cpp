// SPDX-License-Identifier: Apache-2.0
// The modelled device takes exactly the time that it should, and as much memory as it has.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/device/buffer.h"
#include "kernels/modelled/modelled_backend.h"
#include "kernels/modelled/modelled_stream.h"
#include "kernels/ops/ops.h"

namespace halfpipe::modelled {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr DeviceModel kDevice{.flops_per_second = 1e6,
                              .bytes_per_second = 1e3,
                              .attention_share = 0.5,
                              .op_seconds = 0.25,
                              .product_seconds = 0.5,
                              .memory_bytes = 1 << 20};

ops::Matmul product(std::int64_t size) {
  ops::Matmul args{};
  args.M = args.N = args.K = size;
  return args;
}

TEST(DeviceModel, TakesTheLongerOfProductsAndTrafficAndTheStart) {
  EXPECT_DOUBLE_EQ(kDevice.seconds({2e6, 1e3}), 0.25 + 2.0);
  EXPECT_DOUBLE_EQ(kDevice.seconds({2e6, 5e3}), 0.25 + 5.0);
  EXPECT_DOUBLE_EQ(kDevice.seconds_of_product({2e6, 1e3}), 0.5 + 0.25 + 2.0);
  EXPECT_DOUBLE_EQ(kDevice.seconds_of_attention({2e6, 1e3}), 0.25 + 4.0);
  EXPECT_DOUBLE_EQ(kDevice.seconds_of_attention({2e6, 5e3}), 0.25 + 5.0);
}

TEST(ModelledStream, RunsItsWorkInOrderWithoutTheHost) {
  ModelledStream stream;
  const auto before = Clock::now();
  stream.enqueue(100.0);
  const auto first = stream.free_at();
  stream.enqueue(7.0);
  // The host has not waited, and the second began when the first had ended.
  EXPECT_LT(Clock::now() - before, seconds(50));
  EXPECT_GE(first, before + seconds(100));
  EXPECT_EQ(stream.free_at() - first, seconds(7));
  EXPECT_DOUBLE_EQ(stream.work_seconds(), 107.0);
}

TEST(ModelledStream, MarksCountTheTimeBetweenThem) {
  const std::unique_ptr<device::Backend> backend = make_modelled_backend(kDevice);
  const auto stream = backend->make_stream("compute");
  const auto begin = backend->make_event();
  const auto end = backend->make_event();
  static_cast<ModelledStream&>(*stream).enqueue(60.0);
  stream->record(*begin);
  backend->ops().matmul(product(100), *stream);
  stream->record(*end);
  EXPECT_DOUBLE_EQ(end->seconds_since(*begin), kDevice.seconds_of_product({2e6, 4.0 * 3e4}));
}

TEST(ModelledStream, AListOfArraysIsOneOperation) {
  const std::unique_ptr<device::Backend> backend = make_modelled_backend(kDevice);
  ModelledStream stream;
  std::vector<ops::AdamW> steps(2);
  steps[0].count = 5;
  steps[1].count = 7;
  backend->ops().adamw_pieces(steps, stream);
  EXPECT_DOUBLE_EQ(stream.work_seconds(), kDevice.seconds({0.0, 7.0 * 4.0 * 12.0}));
  backend->ops().adamw_pieces({}, stream);
  EXPECT_DOUBLE_EQ(stream.work_seconds(), kDevice.seconds({0.0, 7.0 * 4.0 * 12.0}));
}

TEST(ModelledStream, WaitsForAMarkOfAnotherStream) {
  ModelledStream one;
  ModelledStream other;
  ModelledEvent mark;
  one.enqueue(30.0);
  one.record(mark);
  one.enqueue(1000.0);
  other.wait_for(mark);
  EXPECT_EQ(other.free_at(), mark.time());
  other.enqueue(1.0);
  EXPECT_EQ(other.free_at() - mark.time(), seconds(1));
  EXPECT_DOUBLE_EQ(other.work_seconds(), 1.0) << "waiting is no work";
}

TEST(ModelledStream, WorkStartsNowOnAStreamThatHasRunDry) {
  ModelledStream stream;
  stream.enqueue(1e-9);
  sleep_until(Clock::now() + milliseconds(5));
  const auto before = Clock::now();
  stream.enqueue(10.0);
  EXPECT_GE(stream.free_at(), before + seconds(10));
  EXPECT_LE(stream.free_at(), Clock::now() + seconds(10));
}

TEST(ModelledStream, SynchronizeSleepsUntilTheWorkIsDone) {
  ModelledStream stream;
  stream.enqueue(0.02);
  const auto end = stream.free_at();
  stream.synchronize();
  EXPECT_GE(Clock::now(), end);
  ModelledEvent never_recorded;
  never_recorded.synchronize();
}

TEST(ModelledBackend, HandsOutAsMuchMemoryAsTheDeviceHas) {
  const std::unique_ptr<device::Backend> backend = make_modelled_backend(kDevice);
  device::Buffer half(*backend, 1 << 19);
  const device::Buffer quarter(*backend, 1 << 18);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(half.bytes_pointer()) % 64, 0U);
  const device::Buffer pinned(*backend, 1 << 21, device::MemoryKind::kPinned);  // of the host
  pinned.bytes_pointer()[(1 << 21) - 1] = std::byte{1};
  try {
    const device::Buffer too_much(*backend, (1 << 18) + 1);
    FAIL() << "more than there is";
  } catch (const RuntimeFailure& failure) {
    EXPECT_NE(std::string(failure.what()).find("262145 bytes"), std::string::npos)
        << failure.what();
  }
  const device::Buffer rest(*backend, 1 << 18);
  half = device::Buffer();
  const device::Buffer again(*backend, 1 << 19);
}

TEST(ModelledBackend, MemoryIsNotThere) {
  const std::unique_ptr<device::Backend> backend = make_modelled_backend(kDevice);
  const device::Buffer buffer(*backend, 64);
  EXPECT_DEATH(static_cast<void>(*reinterpret_cast<volatile char*>(buffer.bytes_pointer())), "");
}

TEST(ModelledBackend, CopiesTakeTimeAndMoveNothing) {
  const std::unique_ptr<device::Backend> backend = make_modelled_backend(kDevice);
  const device::Buffer buffer(*backend, 1 << 10);
  ModelledStream stream;
  float value = 3.0F;
  backend->copy_async(&value, buffer.bytes_pointer(), 4, stream);
  EXPECT_EQ(value, 3.0F);
  EXPECT_DOUBLE_EQ(stream.work_seconds(), kDevice.seconds({0.0, 8.0}));
  backend->fill_async(buffer.bytes_pointer(), std::byte{0}, 1 << 10, stream);
  EXPECT_DOUBLE_EQ(stream.work_seconds(),
                   kDevice.seconds({0.0, 8.0}) + kDevice.seconds({0.0, 1024.0}));
}

TEST(ModelledBackend, OperationsOfTensorRanksTakeTheTimeOfTheirBytes) {
  const std::unique_ptr<device::Backend> backend = make_modelled_backend(kDevice);
  ModelledStream stream;
  ops::CrossEntropyStatistics statistics{};
  statistics.N = 4;
  statistics.V = 9;
  backend->ops().cross_entropy_statistics(statistics, stream);
  double expected = kDevice.seconds({0.0, 4.0 * (36 + 16)});
  EXPECT_DOUBLE_EQ(stream.work_seconds(), expected);
  ops::CrossEntropyOfSlice loss{};
  loss.num_slices = 2;
  loss.N = 4;
  loss.V = 9;
  loss.scale = 1.0F;
  backend->ops().cross_entropy_of_slice(loss, stream);
  expected += kDevice.seconds({0.0, 4.0 * (72 + 32)});
  EXPECT_DOUBLE_EQ(stream.work_seconds(), expected);
  ops::SumParts parts{};
  parts.num_parts = 3;
  parts.N = 5;
  parts.C = 7;
  backend->ops().sum_parts(parts, stream);
  EXPECT_DOUBLE_EQ(stream.work_seconds(), expected + kDevice.seconds({0.0, 4.0 * (4 * 35)}));
}

TEST(ModelledBackend, SumsOfSquaresHaveNoBlocks) {
  EXPECT_EQ(make_modelled_backend(kDevice)->ops().num_square_blocks(1 << 20), 0);
}

}  // namespace
}  // namespace halfpipe::modelled
