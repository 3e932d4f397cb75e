// SPDX-License-Identifier: Apache-2.0
// Matrix products on the GPU against the float64 reference, in both types; the same bits in every
// run, on every rank and at any place in memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ostream>
#include <string>
#include <thread>
#include <tuple>
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

namespace halfpipe::reference {
std::ostream& operator<<(std::ostream& stream, const MatmulShape& s) {
  return stream << s.M << "x" << s.N << "x" << s.K << (s.transpose_a ? " T" : " N")
                << (s.transpose_b ? "T" : "N");
}
}  // namespace halfpipe::reference

namespace halfpipe::cuda {
namespace {

using device::Buffer;
using reference::MatmulShape;
using testing::cuda_backend;
using testing::cuda_stream;
using testing::decode;
using testing::DeviceOperand;
using testing::encode;
using testing::near_reference;
using testing::random_values;
using testing::same_bits;

// Of float32 sums, normalised. A float32 sum of K terms in order errs by about 0.2 sqrt(K) * 6e-8
// (K = 2050: 5e-7); operands rounded to TF32 would err by 3e-4. Tensor cores cut off low bits where
// they add.
constexpr double kFloat32Tolerance = 3e-6;
constexpr double kTensorCoreTolerance = 2e-5;

enum class Epilogue { kNone, kBias, kResidual, kResidualInPlace, kBiasAndResidual, kAccumulate };
constexpr std::array kEpilogues{Epilogue::kNone,
                                Epilogue::kBias,
                                Epilogue::kResidual,
                                Epilogue::kResidualInPlace,
                                Epilogue::kBiasAndResidual,
                                Epilogue::kAccumulate};

bool has_bias(Epilogue epilogue) {
  return epilogue == Epilogue::kBias || epilogue == Epilogue::kBiasAndResidual;
}
bool has_residual(Epilogue epilogue) {
  return epilogue == Epilogue::kResidual || epilogue == Epilogue::kResidualInPlace ||
         epilogue == Epilogue::kBiasAndResidual;
}

/// Random values that the type can hold.
std::vector<float> random_elements(DType dtype, const std::string& name, std::int64_t count) {
  return decode(dtype, encode(dtype, random_values(name, count)));
}

struct Product {
  MatmulShape shape;
  DType dtype;
  std::vector<float> a = random_elements(dtype, "a", shape.M* shape.K);
  std::vector<float> b = random_elements(dtype, "b", shape.K* shape.N);
  std::vector<float> bias = random_elements(dtype, "bias", shape.N);
  std::vector<float> residual = random_elements(dtype, "residual", shape.M* shape.N);
  std::vector<float> gradient = random_values("gradient", shape.M* shape.N);

  [[nodiscard]] ops::Matmul args(const DeviceOperand& c,
                                 const DeviceOperand& a_operand,
                                 const DeviceOperand& b_operand) const {
    return {.c = c.get(),
            .a = a_operand.get(),
            .b = b_operand.get(),
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

  /// `scratch_fill`: what the workspace holds before.
  [[nodiscard]] std::vector<float> run(Epilogue epilogue,
                                       std::size_t offset_bytes = 0,
                                       std::byte scratch_fill = std::byte{0xFF}) const {
    const bool accumulates = epilogue == Epilogue::kAccumulate;
    const DeviceOperand a_operand(dtype, a, offset_bytes);
    const DeviceOperand b_operand(dtype, b, 3 * offset_bytes);
    const DeviceOperand bias_operand(dtype, bias, offset_bytes);
    const DeviceOperand residual_operand(dtype, residual, 2 * offset_bytes);
    const DeviceOperand gradient_operand(DType::kFloat32, gradient, 2 * offset_bytes);
    const DeviceOperand poisoned(dtype, shape.M * shape.N, offset_bytes);
    const DeviceOperand& c = accumulates                              ? gradient_operand
                             : epilogue == Epilogue::kResidualInPlace ? residual_operand
                                                                      : poisoned;
    ops::Matmul product = args(c, a_operand, b_operand);
    product.accumulate = accumulates;
    if (has_bias(epilogue)) product.bias_or_null = bias_operand.get();
    if (has_residual(epilogue)) product.residual_or_null = residual_operand.get();
    const Buffer scratch(cuda_backend(), cuda_backend().ops().matmul_scratch_bytes(product));
    cuda_backend().fill_async(scratch.bytes_pointer(), scratch_fill, scratch.bytes(),
                              cuda_stream());
    product.scratch = scratch.bytes_pointer();
    cuda_backend().ops().matmul(product, cuda_stream());
    return c.values();
  }

  [[nodiscard]] std::vector<double> add_to(std::vector<double> c, Epilogue epilogue) const {
    for (std::size_t i = 0; i < c.size(); ++i) {
      if (has_bias(epilogue)) c[i] += bias[i % static_cast<std::size_t>(shape.N)];
      if (has_residual(epilogue)) c[i] += residual[i];
      if (epilogue == Epilogue::kAccumulate) c[i] += gradient[i];
    }
    return c;
  }

  /// Sizes of what is on its way to c when something is still to be added, summed.
  [[nodiscard]] std::vector<double> rounded_before(const std::vector<double>& sums,
                                                   Epilogue epilogue) const {
    std::vector<double> sizes(sums.size());
    for (std::size_t i = 0; i < sums.size(); ++i) {
      if (has_bias(epilogue) || has_residual(epilogue)) sizes[i] += std::abs(sums[i]);
      if (has_bias(epilogue) && has_residual(epilogue)) {
        const double with_bias = sums[i] + bias[i % static_cast<std::size_t>(shape.N)];
        sizes[i] += std::max(std::abs(with_bias), std::abs(sums[i] + residual[i]));
      }
    }
    return sizes;
  }
};

/// Rounded to bfloat16 from a float32 sum. Where bias or residual are added, cuBLASLt rounds the
/// product before it adds them for some shapes (seen on an H100 with cuBLAS 13.0), and the sum of
/// product and bias: `rounded_before`, the largest of what may have been rounded on the way.
::testing::AssertionResult rounded(const std::vector<float>& actual,
                                   const std::vector<double>& expected,
                                   const std::vector<double>& rounded_before) {
  double squares = 0.0;
  for (const double value : expected) squares += value * value;
  const double sum_error =
      5 * kTensorCoreTolerance * std::sqrt(squares / static_cast<double>(expected.size()));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double allowed =
        testing::kBFloat16Rounding * (std::abs(expected[i]) + rounded_before[i]) + sum_error;
    if (std::abs(actual[i] - expected[i]) <= allowed) continue;
    return ::testing::AssertionFailure() << "[" << i << "]: " << actual[i] << " is more than "
                                         << allowed << " from " << expected[i];
  }
  return ::testing::AssertionSuccess();
}

class CudaMatmulOf : public ::testing::TestWithParam<std::tuple<MatmulShape, DType>> {};

TEST_P(CudaMatmulOf, MatchesReference) {
  const auto& [shape, dtype] = GetParam();
  const Product product{shape, dtype};
  const std::vector<double> sums = reference::matmul(shape, product.a, product.b);
  for (const Epilogue epilogue : kEpilogues) {
    SCOPED_TRACE("epilogue " + std::to_string(static_cast<int>(epilogue)));
    const std::vector<float> actual = product.run(epilogue);
    const std::vector<double> expected = product.add_to(sums, epilogue);
    if (dtype == DType::kFloat32) {
      EXPECT_TRUE(near_reference(actual, expected, kFloat32Tolerance));
    } else if (epilogue == Epilogue::kAccumulate) {
      EXPECT_TRUE(near_reference(actual, expected, kTensorCoreTolerance));
    } else {
      EXPECT_TRUE(rounded(actual, expected, product.rounded_before(sums, epilogue)));
    }
  }
}

std::vector<MatmulShape> all_shapes() {
  std::vector<MatmulShape> shapes;
  for (const auto& [M, N, K] : {std::array<std::int64_t, 3>{1, 1, 1},
                                {1, 384, 128},    // generation
                                {384, 1, 128},    // one column
                                {3, 5, 7},        // nothing is a multiple of anything
                                {17, 130, 65},    //
                                {64, 96, 0},      // an empty sum
                                {129, 257, 33},   // several ragged tiles
                                {768, 384, 128},  // a layer of the debugging model
                                {200, 192, 2050}}) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        shapes.push_back({M, N, K, transpose_a, transpose_b});
      }
    }
  }
  shapes.push_back({256, 128, 8192, true, false});  // a weight gradient: a sum that may be split
  shapes.push_back({24, 50304, 16, false, true});   // a head of a real vocabulary
  return shapes;
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         CudaMatmulOf,
                         ::testing::Combine(::testing::ValuesIn(all_shapes()),
                                            ::testing::Values(DType::kFloat32, DType::kBFloat16)));

/// A layer forward, its input gradient, its weight gradient with few outputs and a long sum.
std::vector<Product> training_products() {
  std::vector<Product> products;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    products.push_back({{512, 1152, 384, false, false}, dtype});
    products.push_back({{512, 384, 1152, false, true}, dtype});
    products.push_back({{128, 384, 8192, true, false}, dtype});
  }
  return products;
}

TEST(CudaMatmul, HasTheSameBitsInEveryRun) {
  for (const Product& product : training_products()) {
    for (const Epilogue epilogue : {Epilogue::kBiasAndResidual, Epilogue::kAccumulate}) {
      const std::vector<float> first = product.run(epilogue);
      for (int i = 1; i < 5; ++i) {
        const std::byte scratch_fill = i % 2 == 0 ? std::byte{0} : std::byte{0x3F};
        EXPECT_TRUE(same_bits(product.run(epilogue, 0, scratch_fill), first)) << product.shape;
      }
    }
  }
}

// Arenas place the tensors of different schedules at different multiples of 64 bytes.
TEST(CudaMatmul, HasTheSameBitsAnywhereInMemory) {
  for (const Product& product : training_products()) {
    for (const Epilogue epilogue : {Epilogue::kBiasAndResidual, Epilogue::kAccumulate}) {
      const std::vector<float> first = product.run(epilogue);
      for (const std::size_t offset_bytes : {64U, 192U, 16U}) {
        EXPECT_TRUE(same_bits(product.run(epilogue, offset_bytes), first))
            << product.shape << " at " << offset_bytes;
      }
    }
  }
}

/// One product by a rank with a backend and a stream of its own, while others do the same.
std::vector<float> result_of_rank(const Product& product) {
  const auto backend = make_cuda_backend(/*device_index=*/0);
  const auto stream = backend->make_stream("rank");
  const std::vector<std::byte> a = encode(product.dtype, product.a);
  const std::vector<std::byte> b = encode(product.dtype, product.b);
  const Buffer a_buffer(*backend, a.size());
  const Buffer b_buffer(*backend, b.size());
  const Buffer c_buffer(*backend, product.gradient.size() * sizeof(float));
  backend->copy_async(a_buffer.bytes_pointer(), a.data(), a.size(), *stream);
  backend->copy_async(b_buffer.bytes_pointer(), b.data(), b.size(), *stream);
  const MatmulShape& s = product.shape;
  ops::Matmul args{c_buffer.bytes_pointer(),
                   a_buffer.bytes_pointer(),
                   b_buffer.bytes_pointer(),
                   nullptr,
                   nullptr,
                   s.M,
                   s.N,
                   s.K,
                   s.transpose_a,
                   s.transpose_b,
                   /*accumulate=*/true,
                   nullptr,
                   product.dtype};
  const Buffer scratch(*backend, backend->ops().matmul_scratch_bytes(args));
  args.scratch = scratch.bytes_pointer();
  std::vector<float> c(product.gradient.size());
  for (int i = 0; i < 20; ++i) {
    backend->copy_async(c_buffer.bytes_pointer(), product.gradient.data(), c_buffer.bytes(),
                        *stream);
    backend->ops().matmul(args, *stream);
  }
  backend->copy_async(c.data(), c_buffer.bytes_pointer(), c_buffer.bytes(), *stream);
  stream->synchronize();
  return c;
}

TEST(CudaMatmul, HasTheSameBitsOnEveryRank) {
  constexpr std::size_t kNumRanks = 4;
  for (const Product& product : training_products()) {
    const std::vector<float> alone = product.run(Epilogue::kAccumulate);
    std::vector<std::vector<float>> results(kNumRanks);
    {
      std::vector<std::jthread> ranks;
      for (std::vector<float>& result : results) {
        ranks.emplace_back([&result, &product] { result = result_of_rank(product); });
      }
    }
    for (const std::vector<float>& result : results) EXPECT_TRUE(same_bits(result, alone));
  }
}

TEST(CudaMatmul, AsksForTheSameScratchForAllShapes) {
  const ops::Ops& ops = cuda_backend().ops();
  ops::Matmul args{};
  args.M = 3;
  args.N = 4;
  args.K = 5;
  const std::size_t bytes = ops.matmul_scratch_bytes(args);
  EXPECT_GE(bytes, std::size_t{32} << 20);
  args.M = 100000;
  args.dtype = DType::kBFloat16;
  EXPECT_EQ(ops.matmul_scratch_bytes(args), bytes);
  args.M = 0;
  EXPECT_EQ(ops.matmul_scratch_bytes(args), 0U);
}

TEST(CudaMatmul, DoesNothingForEmptyOutputs) {
  ops::Matmul args{};
  args.N = 5;
  args.K = 3;
  cuda_backend().ops().matmul(args, cuda_stream());
  cuda_stream().synchronize();
}

TEST(CudaMatmul, RefusesBiasWhenItAccumulates) {
  const Product product{{2, 2, 2}, DType::kFloat32};
  const DeviceOperand ones(DType::kFloat32, std::vector<float>(4, 1.0F));
  const DeviceOperand c(DType::kFloat32, 4);
  ops::Matmul args = product.args(c, ones, ones);
  args.accumulate = true;
  args.bias_or_null = ones.get();
  EXPECT_THROW(cuda_backend().ops().matmul(args, cuda_stream()), InternalError);
}

TEST(CudaMatmul, PassesOnNaN) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    Product product{{2, 2, 3}, dtype};
    std::fill(product.a.begin(), product.a.end(), 1.0F);
    std::fill(product.b.begin(), product.b.end(), 1.0F);
    product.a[4] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> c = product.run(Epilogue::kNone);
    EXPECT_EQ(c[0], 3.0F);
    EXPECT_TRUE(std::isnan(c[2]));
  }
}

}  // namespace
}  // namespace halfpipe::cuda
