// SPDX-License-Identifier: Apache-2.0
// Matrix products tuned: what is chosen is kept, used again by others, and right.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/device/buffer.h"
#include "kernels/ops/ops.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cuda/cuda_environment.h"
#include "tests/kernels/cuda/device_operand.h"
#include "tests/kernels/matmul_reference.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::cuda {
namespace {

using device::TunedChoices;
using testing::DeviceOperand;
using testing::random_values;
using testing::same_bits;

// As in matmul_test: float32 sums, normalised.
constexpr double kTolerance = 3e-6;

/// c += a b or c = a b, of float32, by a backend of its own.
class Multiplier {
 public:
  Multiplier(std::int64_t M, std::int64_t N, std::int64_t K) : shape_{M, N, K, false, false} {}

  [[nodiscard]] device::Tuner& tuner() { return *backend_->tuner_or_null(); }
  [[nodiscard]] std::vector<float> run(bool accumulate = false, bool with_gelu = false) {
    const DeviceOperand a(DType::kFloat32, a_);
    const DeviceOperand b(DType::kFloat32, b_);
    const DeviceOperand c(DType::kFloat32, c_);
    ops::Matmul args{.c = c.get(),
                     .a = a.get(),
                     .b = b.get(),
                     .bias_or_null = nullptr,
                     .residual_or_null = nullptr,
                     .M = shape_.M,
                     .N = shape_.N,
                     .K = shape_.K,
                     .transpose_a = false,
                     .transpose_b = false,
                     .accumulate = accumulate,
                     .scratch = nullptr};
    const DeviceOperand pre_activation(DType::kFloat32, c_);
    if (with_gelu) args.pre_activation_or_null = pre_activation.get();
    const device::Buffer scratch(*backend_, backend_->ops().matmul_scratch_bytes(args));
    args.scratch = scratch.bytes_pointer();
    backend_->ops().matmul(args, *stream_);
    stream_->synchronize();
    return c.values();
  }
  /// Measures the kind of run(accumulate), and no other.
  TunedChoices measure(bool accumulate = false) {
    tuner().begin_measuring();
    (void)run(accumulate);
    return tuner().end_measuring();
  }
  [[nodiscard]] bool is_right(const std::vector<float>& actual) const {
    std::vector<double> expected(c_.size());
    std::vector<double> magnitudes(c_.size());
    for (std::int64_t m = 0; m < shape_.M; ++m) {
      for (std::int64_t n = 0; n < shape_.N; ++n) {
        double sum = 0.0;
        double magnitude = 0.0;
        for (std::int64_t k = 0; k < shape_.K; ++k) {
          const double term = static_cast<double>(a_[static_cast<std::size_t>(m * shape_.K + k)]) *
                              b_[static_cast<std::size_t>(k * shape_.N + n)];
          sum += term;
          magnitude += std::abs(term);
        }
        expected[static_cast<std::size_t>(m * shape_.N + n)] = sum;
        magnitudes[static_cast<std::size_t>(m * shape_.N + n)] = magnitude;
      }
    }
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (!(std::abs(actual[i] - expected[i]) <= kTolerance * magnitudes[i])) return false;
    }
    return true;
  }

 private:
  reference::MatmulShape shape_;
  std::vector<float> a_ = random_values("a", shape_.M* shape_.K);
  std::vector<float> b_ = random_values("b", shape_.K* shape_.N);
  std::vector<float> c_ = random_values("c", shape_.M* shape_.N);
  std::unique_ptr<device::Backend> backend_ = make_cuda_backend(0);
  std::unique_ptr<device::Stream> stream_ = backend_->make_stream("products");
};

TEST(MatmulTuner, MeasuresEachKindOnce) {
  Multiplier product(24, 40, 300);
  const TunedChoices one = product.measure();
  ASSERT_EQ(one.size(), 1U);
  const auto& [kind, choice] = *one.begin();
  EXPECT_EQ(kind, "float32 [24 x 300] [300 x 40], aligned to 16, 16, 16, 16 bytes");
  EXPECT_GT(choice.seconds, 0.0);
  EXPECT_LE(choice.seconds, choice.first_seconds);

  EXPECT_EQ(product.measure(), one);  // not again
  const TunedChoices two = product.measure(/*accumulate=*/true);
  EXPECT_EQ(two.size(), 2U);
  EXPECT_EQ(two.at(kind), choice);
  EXPECT_TRUE(
      two.contains("float32 [24 x 300] [300 x 40] added to float32, aligned to 16, 16, 16, "
                   "16 bytes"));
}

TEST(MatmulTuner, TellsProductsWithGeluFromOthers) {
  Multiplier product(24, 40, 300);
  product.tuner().begin_measuring();
  (void)product.run();
  (void)product.run(/*accumulate=*/false, /*with_gelu=*/true);
  const TunedChoices choices = product.tuner().end_measuring();
  EXPECT_EQ(choices.size(), 2U);
  EXPECT_TRUE(
      choices.contains("float32 [24 x 300] [300 x 40] with GELU, aligned to 16, 16, 16, 16 bytes"));
  Multiplier other(24, 40, 300);
  other.tuner().use(choices);
  EXPECT_TRUE(same_bits(other.run(false, true), product.run(false, true)));
}

TEST(MatmulTuner, MeasuresNothingUnasked) {
  Multiplier product(24, 40, 300);
  EXPECT_TRUE(product.is_right(product.run()));
  product.tuner().begin_measuring();
  EXPECT_TRUE(product.tuner().end_measuring().empty());
}

TEST(MatmulTuner, ComputesByWhatItChose) {
  Multiplier product(65, 33, 520);
  const TunedChoices choices = product.measure();
  const std::vector<float> tuned = product.run();
  EXPECT_TRUE(product.is_right(tuned));
  Multiplier other(65, 33, 520);
  other.tuner().use(choices);
  EXPECT_TRUE(same_bits(other.run(), tuned));
  EXPECT_EQ(other.measure(), choices);  // nothing to measure
}

TEST(MatmulTuner, SaysWhatChoicesAreMadeFor) {
  Multiplier product(1, 1, 1);
  EXPECT_NE(product.tuner().made_for().find(", cuBLASLt "), std::string::npos);
}

TEST(MatmulTuner, RefusesWhatIsNoAlgorithm) {
  Multiplier product(24, 40, 300);
  const std::string kind = product.measure().begin()->first;
  const std::string algorithm = product.measure().begin()->second.algorithm;
  std::string with_x = algorithm;
  with_x.front() = 'x';
  std::string with_sign = algorithm;
  with_sign.front() = '-';
  for (const std::string& text :
       {std::string(), algorithm.substr(1), algorithm + "0", with_x, with_sign}) {
    product.tuner().use({{kind, {text, 1.0, 1.0}}});
    EXPECT_THROW((void)product.run(), RuntimeFailure) << text;
  }
}

TEST(MatmulTuner, RefusesTheAlgorithmOfAnotherProduct) {
  Multiplier product(24, 40, 300);
  const std::string kind = product.measure().begin()->first;
  product.tuner().use({{kind, {std::string(128, '0'), 1.0, 1.0}}});
  try {
    (void)product.run();
    ADD_FAILURE() << "it was taken";
  } catch (const RuntimeFailure& error) {
    EXPECT_NE(std::string(error.what()).find(kind), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace halfpipe::cuda
