// SPDX-License-Identifier: Apache-2.0
// CUDA graphs: recorded work runs when it is enqueued, as often as it is, and with the same bits as
// work that was not recorded.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/device/buffer.h"
#include "kernels/ops/ops.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cuda/cuda_environment.h"
#include "tests/kernels/cuda/device_operand.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::cuda {
namespace {

using testing::cuda_backend;
using testing::cuda_stream;
using testing::DeviceOperand;
using testing::random_values;
using testing::same_bits;

constexpr std::int64_t kCount = 100;

class RecordingTest : public ::testing::Test {
 protected:
  /// dst += 1.
  void enqueue_increment() {
    cuda_backend().ops().accumulate({.dst = static_cast<float*>(dst_.get()),
                                     .src = static_cast<const float*>(ones_.get()),
                                     .count = kCount},
                                    cuda_stream());
  }
  void expect_all(float value) const {
    EXPECT_EQ(dst_.values(), std::vector<float>(kCount, value));
  }

  DeviceOperand dst_{DType::kFloat32, std::vector<float>(kCount, 0.0F)};
  DeviceOperand ones_{DType::kFloat32, std::vector<float>(kCount, 1.0F)};
};

TEST_F(RecordingTest, RunsWhenItIsEnqueuedAndAsOften) {
  enqueue_increment();
  expect_all(1.0F);
  const auto recording = cuda_backend().record(cuda_stream(), [&] {
    enqueue_increment();
    enqueue_increment();
  });
  ASSERT_NE(recording, nullptr);
  expect_all(1.0F);
  recording->enqueue(cuda_stream());
  expect_all(3.0F);
  enqueue_increment();
  recording->enqueue(cuda_stream());
  recording->enqueue(cuda_stream());
  expect_all(8.0F);
}

TEST_F(RecordingTest, MayBeEmpty) {
  const auto recording = cuda_backend().record(cuda_stream(), [] {});
  recording->enqueue(cuda_stream());
  expect_all(0.0F);
}

TEST_F(RecordingTest, RunsOnOtherStreamsToo) {
  const auto recording = cuda_backend().record(cuda_stream(), [&] { enqueue_increment(); });
  const auto stream = cuda_backend().make_stream("other");
  recording->enqueue(*stream);
  stream->synchronize();
  expect_all(1.0F);
}

TEST_F(RecordingTest, LeavesTheStreamUsableWhenItsWorkThrows) {
  EXPECT_THROW((void)cuda_backend().record(cuda_stream(),
                                           [&] {
                                             enqueue_increment();
                                             throw std::runtime_error("no");
                                           }),
               std::runtime_error);
  expect_all(0.0F);
  enqueue_increment();
  expect_all(1.0F);
}

// A host that waits for work that is not run yet would wait forever.
TEST_F(RecordingTest, RefusesToWait) {
  EXPECT_THROW((void)cuda_backend().record(cuda_stream(),
                                           [&] {
                                             enqueue_increment();
                                             cuda_stream().synchronize();
                                           }),
               RuntimeFailure);
  enqueue_increment();
  expect_all(1.0F);
}

TEST_F(RecordingTest, RefusesToAllocate) {
  EXPECT_THROW((void)cuda_backend().record(
                   cuda_stream(), [&] { const device::Buffer buffer(cuda_backend(), 1024); }),
               RuntimeFailure);
  enqueue_increment();
  expect_all(1.0F);
}

/// A linear layer and its norm, forward: a product with bias, fills, and a kernel.
class Layer {
 public:
  void enqueue() {
    device::Backend& backend = cuda_backend();
    backend.ops().matmul(product(scratch_.bytes_pointer()), cuda_stream());
    backend.ops().layer_norm_forward({.out = out_.get(),
                                      .mean = static_cast<float*>(mean_.get()),
                                      .rstd = static_cast<float*>(rstd_.get()),
                                      .x = hidden_.get(),
                                      .weight = bias_.get(),
                                      .bias_or_null = nullptr,
                                      .N = kRows,
                                      .C = kWidth,
                                      .eps = 1e-5F,
                                      .dtype = DType::kBFloat16},
                                     cuda_stream());
  }
  [[nodiscard]] std::vector<float> out() const { return out_.values(); }

 private:
  static constexpr std::int64_t kRows = 24;
  static constexpr std::int64_t kWidth = 64;

  [[nodiscard]] ops::Matmul product(void* scratch) const {
    return {.c = hidden_.get(),
            .a = x_.get(),
            .b = weight_.get(),
            .bias_or_null = bias_.get(),
            .residual_or_null = nullptr,
            .M = kRows,
            .N = kWidth,
            .K = kWidth,
            .transpose_a = false,
            .transpose_b = false,
            .accumulate = false,
            .scratch = scratch,
            .dtype = DType::kBFloat16};
  }

  DeviceOperand x_{DType::kBFloat16, random_values("x", kRows* kWidth)};
  DeviceOperand weight_{DType::kBFloat16, random_values("weight", kWidth* kWidth)};
  DeviceOperand bias_{DType::kBFloat16, random_values("bias", kWidth)};
  DeviceOperand hidden_{DType::kBFloat16, kRows* kWidth};
  DeviceOperand out_{DType::kBFloat16, kRows* kWidth};
  DeviceOperand mean_{DType::kFloat32, kRows};
  DeviceOperand rstd_{DType::kFloat32, kRows};
  device::Buffer scratch_{cuda_backend(),
                          cuda_backend().ops().matmul_scratch_bytes(product(nullptr))};
};

TEST(RecordedLayer, HasTheSameBits) {
  Layer usual;
  usual.enqueue();
  Layer recorded;
  recorded.enqueue();  // loads code, plans the product
  const auto recording = cuda_backend().record(cuda_stream(), [&recorded] { recorded.enqueue(); });
  recording->enqueue(cuda_stream());
  EXPECT_TRUE(same_bits(recorded.out(), usual.out()));
}

}  // namespace
}  // namespace halfpipe::cuda
