// SPDX-License-Identifier: Apache-2.0
// Which algorithm is chosen, on the emulated GPU: its algorithms differ in their bits, and one of
// them can be made the only quick one.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/device/buffer.h"
#include "kernels/ops/ops.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cuda/cuda_environment.h"
#include "tests/kernels/cuda/device_operand.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::cuda {
namespace {

using testing::DeviceOperand;
using testing::random_values;
using testing::same_bits;

constexpr std::int64_t kM = 8;
constexpr std::int64_t kN = 16;
constexpr std::int64_t kK = 500;

/// The quick algorithm, while it lives.
class Quick {
 public:
  explicit Quick(const char* number) {
    ::setenv("HALFPIPE_EMULATION_QUICK_ALGORITHM", number, /*overwrite=*/1);
  }
  ~Quick() { ::unsetenv("HALFPIPE_EMULATION_QUICK_ALGORITHM"); }
  Quick(const Quick&) = delete;
  Quick& operator=(const Quick&) = delete;
};

std::vector<float> multiply(device::Backend& backend) {
  const auto stream = backend.make_stream("products");
  const DeviceOperand a(DType::kFloat32, random_values("a", kM * kK));
  const DeviceOperand b(DType::kFloat32, random_values("b", kK * kN));
  const DeviceOperand c(DType::kFloat32, kM * kN);
  ops::Matmul args{.c = c.get(),
                   .a = a.get(),
                   .b = b.get(),
                   .bias_or_null = nullptr,
                   .residual_or_null = nullptr,
                   .M = kM,
                   .N = kN,
                   .K = kK,
                   .transpose_a = false,
                   .transpose_b = false,
                   .accumulate = false,
                   .scratch = nullptr};
  const device::Buffer scratch(backend, backend.ops().matmul_scratch_bytes(args));
  args.scratch = scratch.bytes_pointer();
  backend.ops().matmul(args, *stream);
  stream->synchronize();
  return c.values();
}

/// By the algorithm that is the only quick one, once it was measured.
std::vector<float> multiply_tuned(const char* quick) {
  const auto backend = make_cuda_backend(0);
  device::Tuner& tuner = *backend->tuner_or_null();
  {
    const Quick only(quick);
    tuner.begin_measuring();
    (void)multiply(*backend);
  }
  const device::TunedChoices choices = tuner.end_measuring();
  EXPECT_EQ(choices.size(), 1U);
  return multiply(*backend);
}

TEST(MatmulTunerChoice, IsTheQuickOne) {
  const std::vector<float> untuned = multiply(*make_cuda_backend(0));
  const std::vector<float> first = multiply_tuned("0");
  const std::vector<float> second = multiply_tuned("1");
  const std::vector<float> third = multiply_tuned("2");
  EXPECT_TRUE(same_bits(first, untuned));
  EXPECT_FALSE(same_bits(second, untuned));
  EXPECT_FALSE(same_bits(third, untuned));
  EXPECT_FALSE(same_bits(third, second));
  EXPECT_TRUE(same_bits(third, multiply_tuned("2")));
}

TEST(MatmulTunerChoice, EndsWithOtherChoices) {
  const auto backend = make_cuda_backend(0);
  const std::vector<float> untuned = multiply(*backend);
  {
    const Quick only("1");
    backend->tuner_or_null()->begin_measuring();
    (void)multiply(*backend);
    (void)backend->tuner_or_null()->end_measuring();
  }
  EXPECT_FALSE(same_bits(multiply(*backend), untuned));
  backend->tuner_or_null()->use({});
  EXPECT_TRUE(same_bits(multiply(*backend), untuned));
}

}  // namespace
}  // namespace halfpipe::cuda
