// SPDX-License-Identifier: Apache-2.0
// Matrix products with GELU on the GPU: both results against the float64 reference, in both types.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/device/buffer.h"
#include "kernels/ops/ops.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cuda/cuda_environment.h"
#include "tests/kernels/cuda/device_operand.h"
#include "tests/kernels/matmul_reference.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::cuda {
namespace {

using device::Buffer;
using reference::MatmulShape;
using testing::cuda_backend;
using testing::cuda_stream;
using testing::DeviceOperand;
using testing::random_values;
using testing::same_bits;
using Values = std::vector<float>;

// Of float32 sums of the size of one: as in matmul_test, where a single one may be off by more.
constexpr double kFloat32SumTolerance = 1.5e-5;
constexpr double kTensorCoreSumTolerance = 1e-4;
// NVIDIA does not say how exact its GELU is. The other form, by erf, differs by up to 4.7e-4.
constexpr double kGeluTolerance = 2e-4;
// The steepest slope of GELU.
constexpr double kSlope = 1.13;

struct Results {
  Values c;
  Values pre_activation;
};

// Operands hold what dtype can hold. Sums are of the size of one: where GELU bends.
struct Product {
  MatmulShape shape;
  DType dtype;
  bool has_bias = true;
  Values a = held("a", shape.M* shape.K, 1.0);
  Values b = held("b", shape.K* shape.N, 1.0 / std::sqrt(static_cast<double>(shape.K) + 1.0));
  Values bias = held("bias", shape.N, 1.0);

  [[nodiscard]] Values held(const std::string& name, std::int64_t count, double deviation) const {
    return testing::decode(dtype, testing::encode(dtype, random_values(name, count, deviation)));
  }

  /// Without operands.
  [[nodiscard]] ops::Matmul args() const {
    return {.c = nullptr,
            .a = nullptr,
            .b = nullptr,
            .bias_or_null = nullptr,
            .residual_or_null = nullptr,
            .M = shape.M,
            .N = shape.N,
            .K = shape.K,
            .transpose_a = shape.transpose_a,
            .transpose_b = shape.transpose_b,
            .accumulate = false,
            .scratch = nullptr,
            .dtype = dtype};
  }

  [[nodiscard]] Results run(std::size_t offset_bytes = 0) const {
    const DeviceOperand a_operand(dtype, a, offset_bytes);
    const DeviceOperand b_operand(dtype, b, 3 * offset_bytes);
    const DeviceOperand bias_operand(dtype, bias, offset_bytes);
    const DeviceOperand c(dtype, shape.M * shape.N, 2 * offset_bytes);
    const DeviceOperand pre_activation(dtype, shape.M * shape.N, offset_bytes);
    ops::Matmul product = args();
    product.c = c.get();
    product.pre_activation_or_null = pre_activation.get();
    product.a = a_operand.get();
    product.b = b_operand.get();
    if (has_bias) product.bias_or_null = bias_operand.get();
    const Buffer scratch(cuda_backend(), cuda_backend().ops().matmul_scratch_bytes(product));
    product.scratch = scratch.bytes_pointer();
    cuda_backend().ops().matmul(product, cuda_stream());
    return {c.values(), pre_activation.values()};
  }

  [[nodiscard]] std::vector<double> expected_sums() const {
    std::vector<double> sums = reference::matmul(shape, a, b);
    for (std::size_t i = 0; has_bias && i < sums.size(); ++i) {
      sums[i] += bias[i % static_cast<std::size_t>(shape.N)];
    }
    return sums;
  }
};

/// Each off by at most what is allowed in its place.
::testing::AssertionResult near_each(const Values& actual,
                                     const std::vector<double>& expected,
                                     const std::vector<double>& allowed) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::abs(actual[i] - expected[i]) <= allowed[i]) continue;
    return ::testing::AssertionFailure() << "[" << i << "]: " << actual[i] << " is more than "
                                         << allowed[i] << " from " << expected[i];
  }
  return ::testing::AssertionSuccess();
}

class CudaMatmulGelu : public ::testing::TestWithParam<std::tuple<MatmulShape, DType, bool>> {
 protected:
  Product product{std::get<0>(GetParam()), std::get<1>(GetParam()), std::get<2>(GetParam())};
};

TEST_P(CudaMatmulGelu, MatchesReference) {
  const bool is_float32 = product.dtype == DType::kFloat32;
  const double rounding = is_float32 ? 0.0 : testing::kBFloat16Rounding;
  const double of_sum = is_float32 ? kFloat32SumTolerance : kTensorCoreSumTolerance;
  const Results actual = product.run();
  const std::vector<double> sums = product.expected_sums();
  const std::vector<double> gelu = reference::gelu(sums);
  std::vector<double> allowed_of_sum;
  std::vector<double> allowed_of_gelu;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    // cuBLASLt may round the product before it adds the bias, and the sum before GELU.
    const double bias =
        product.has_bias ? product.bias[i % static_cast<std::size_t>(product.shape.N)] : 0.0;
    const double before = rounding * (std::abs(sums[i] - bias) + std::abs(sums[i])) + of_sum;
    allowed_of_sum.push_back(before);
    allowed_of_gelu.push_back(kSlope * before + rounding * std::abs(gelu[i]) + kGeluTolerance);
  }
  EXPECT_TRUE(near_each(actual.pre_activation, sums, allowed_of_sum));
  EXPECT_TRUE(near_each(actual.c, gelu, allowed_of_gelu));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes,
    CudaMatmulGelu,
    ::testing::Combine(::testing::Values(MatmulShape{1, 8, 1},
                                         MatmulShape{3, 40, 7},
                                         MatmulShape{64, 96, 0},  // an empty sum
                                         MatmulShape{129, 264, 65},
                                         MatmulShape{96, 72, 130, true, false},
                                         MatmulShape{96, 72, 130, false, true},
                                         MatmulShape{512, 512, 128}),  // a layer
                       ::testing::Values(DType::kFloat32, DType::kBFloat16),
                       ::testing::Bool()));

/// The layer of a model in both types.
std::vector<Product> layers() {
  return {{{256, 512, 128}, DType::kFloat32}, {{256, 512, 128}, DType::kBFloat16}};
}

TEST(CudaMatmulWithGelu, HasTheSameBitsAnywhereInMemory) {
  for (const Product& product : layers()) {
    const Results first = product.run();
    for (const std::size_t offset_bytes : {0U, 64U, 192U, 16U}) {
      const Results again = product.run(offset_bytes);
      EXPECT_TRUE(same_bits(again.c, first.c)) << offset_bytes;
      EXPECT_TRUE(same_bits(again.pre_activation, first.pre_activation)) << offset_bytes;
    }
  }
}

// Another algorithm may be taken then: the results differ by roundings of product, sum and GELU.
TEST(CudaMatmulWithGelu, TakesOperandsThatAreNotAligned) {
  const Product product{{33, 40, 24}, DType::kBFloat16};
  const Results aligned = product.run();
  const Results shifted = product.run(/*offset_bytes=*/2);
  for (std::size_t i = 0; i < aligned.c.size(); ++i) {
    const double allowed =
        2 * testing::kBFloat16Rounding * (1.0 + std::abs(aligned.pre_activation[i]));
    EXPECT_NEAR(shifted.c[i], aligned.c[i], kSlope * allowed);
    EXPECT_NEAR(shifted.pre_activation[i], aligned.pre_activation[i], allowed);
  }
}

TEST(CudaMatmulWithGelu, RefusesWhatCannotBeAddedToIt) {
  const auto run = [](const ops::Matmul& args) {
    cuda_backend().ops().matmul(args, cuda_stream());
  };
  float memory = 0.0F;
  ops::Matmul args{};
  args.N = 8;
  args.c = args.pre_activation_or_null = &memory;
  EXPECT_NO_THROW(run(args));  // of no rows
  ops::Matmul with_residual = args;
  with_residual.residual_or_null = &memory;
  EXPECT_THROW(run(with_residual), InternalError);
  ops::Matmul accumulating = args;
  accumulating.accumulate = true;
  EXPECT_THROW(run(accumulating), InternalError);
  ops::Matmul odd = args;
  odd.N = 12;
  EXPECT_THROW(run(odd), InternalError);
}

}  // namespace
}  // namespace halfpipe::cuda
