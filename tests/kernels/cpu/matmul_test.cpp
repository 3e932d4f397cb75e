// SPDX-License-Identifier: Apache-2.0
// Matrix products on the CPU against the float64 reference, with the same bits for any number of
// threads, and the way that each takes. What every way must bear besides: matmul_ways_test.cpp.
#include "kernels/cpu/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/core/error.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cpu/matmul_ways.h"
#include "tests/kernels/cpu/thread_counts.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/matmul_reference.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::reference {
std::ostream& operator<<(std::ostream& stream, const MatmulShape& s) {
  return stream << s.M << "x" << s.N << "x" << s.K << (s.transpose_a ? " T" : " N")
                << (s.transpose_b ? "T" : "N");
}
}  // namespace halfpipe::reference

namespace halfpipe::cpu {
namespace {

using reference::MatmulShape;
using testing::GuardedBuffer;
using testing::MatmulWay;
using testing::near_reference;
using testing::random_values;
using testing::representable;
using testing::rounded_once;
using testing::same_bits;
using testing::to_elements;
using testing::to_float32;
using Results = std::vector<std::vector<float>>;

// Roundings of a sum of K terms of random sign grow like sqrt(K) * 3e-8 (K <= 2050), relative to a
// result that grows like sqrt(K): about 3e-8 per term of the random walk, measured below 4e-7.
constexpr double kTolerance = 1e-6;
enum class Epilogue { kNone, kBias, kResidual, kResidualInPlace, kBiasAndResidual, kAccumulate };

/// Random values that the type has. Made once for all tests.
const std::vector<float>& inputs(const char* name, std::int64_t count, DType dtype) {
  static std::map<std::tuple<std::string, std::int64_t, DType>, std::vector<float>> made;
  std::vector<float>& values = made[{name, count, dtype}];
  if (values.empty()) values = representable(random_values(name, count), dtype);
  return values;
}

/// Of inputs "a" and "b". Computed once for all epilogues and ways.
const std::vector<double>& reference_product(const MatmulShape& s, DType dtype) {
  using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, bool, bool, DType>;
  static std::map<Key, std::vector<double>> products;
  std::vector<double>& product = products[{s.M, s.N, s.K, s.transpose_a, s.transpose_b, dtype}];
  if (product.empty()) {
    product = reference::matmul(s, inputs("a", s.M * s.K, dtype), inputs("b", s.K * s.N, dtype));
  }
  return product;
}

class MatmulOf : public ::testing::TestWithParam<std::tuple<MatmulWay, MatmulShape>> {
 protected:
  MatmulWay way = std::get<0>(GetParam());
  MatmulShape shape = std::get<1>(GetParam());
  const std::vector<float>& a = inputs("a", shape.M* shape.K, way.dtype);
  const std::vector<float>& b = inputs("b", shape.K* shape.N, way.dtype);
  const std::vector<float>& bias = inputs("bias", shape.N, way.dtype);
  const std::vector<float>& addend = inputs("addend", shape.M* shape.N, way.dtype);

  void SetUp() override {
    if (!way.exists()) GTEST_SKIP() << testing::kWayIsMissing;
  }

  [[nodiscard]] std::vector<double> expected(Epilogue epilogue) const {
    std::vector<double> c = reference_product(shape, way.dtype);
    const bool adds_bias = epilogue == Epilogue::kBias || epilogue == Epilogue::kBiasAndResidual;
    const bool adds_matrix = epilogue != Epilogue::kNone && epilogue != Epilogue::kBias;
    for (std::size_t i = 0; i < c.size(); ++i) {
      if (adds_bias) c[i] += bias[i % static_cast<std::size_t>(shape.N)];
      if (adds_matrix) c[i] += addend[i];
    }
    return c;
  }

  template <typename T>
  std::vector<float> run_as(ThreadPool& pool, Epilogue epilogue) const {
    const bool has_bias = epilogue == Epilogue::kBias || epilogue == Epilogue::kBiasAndResidual;
    const bool has_residual = epilogue == Epilogue::kResidual ||
                              epilogue == Epilogue::kBiasAndResidual ||
                              epilogue == Epilogue::kResidualInPlace;
    const bool accumulate = epilogue == Epilogue::kAccumulate;
    const GuardedBuffer<T> a_buffer(to_elements<T>(a));
    const GuardedBuffer<T> b_buffer(to_elements<T>(b));
    const GuardedBuffer<T> bias_buffer(to_elements<T>(bias));
    const GuardedBuffer<T> residual(to_elements<T>(addend));
    const GuardedBuffer<float> gradient(addend);
    const GuardedBuffer<T> poisoned(shape.M * shape.N);
    const GuardedBuffer<T>& c = epilogue == Epilogue::kResidualInPlace ? residual : poisoned;
    way.run({.c = accumulate ? static_cast<void*>(gradient.get()) : c.get(),
             .a = a_buffer.get(),
             .b = b_buffer.get(),
             .bias_or_null = has_bias ? bias_buffer.get() : nullptr,
             .residual_or_null = has_residual ? residual.get() : nullptr,
             .M = shape.M,
             .N = shape.N,
             .K = shape.K,
             .transpose_a = shape.transpose_a,
             .transpose_b = shape.transpose_b,
             .accumulate = accumulate,
             .scratch = nullptr},
            pool);
    return accumulate ? gradient.values() : to_float32(c.values());
  }

  std::vector<float> run(ThreadPool& pool, Epilogue epilogue) const {
    return way.dtype == DType::kBFloat16 ? run_as<BFloat16>(pool, epilogue)
                                         : run_as<float>(pool, epilogue);
  }

  void expect_matches(Epilogue epilogue) const {
    const Results actual = testing::run_with_any_threads(
        [&](ThreadPool& pool) { return Results{run(pool, epilogue)}; });
    const std::vector<double> c = expected(epilogue);
    if (way.dtype == DType::kBFloat16 && epilogue != Epilogue::kAccumulate) {
      EXPECT_TRUE(near_reference(actual[0], c, testing::kBFloat16Rounding));
      EXPECT_TRUE(rounded_once(actual[0], c));
    } else {
      EXPECT_TRUE(near_reference(actual[0], c, kTolerance));
    }
  }
};

TEST_P(MatmulOf, MatchesReference) {
  expect_matches(Epilogue::kNone);
}
TEST_P(MatmulOf, AddsBias) {
  expect_matches(Epilogue::kBias);
}
TEST_P(MatmulOf, AddsResidual) {
  expect_matches(Epilogue::kResidual);
}
TEST_P(MatmulOf, AddsResidualInPlace) {
  expect_matches(Epilogue::kResidualInPlace);
}
TEST_P(MatmulOf, AddsBiasAndResidual) {
  expect_matches(Epilogue::kBiasAndResidual);
}
TEST_P(MatmulOf, Accumulates) {
  expect_matches(Epilogue::kAccumulate);
}

std::vector<MatmulShape> all_shapes() {
  std::vector<MatmulShape> shapes;
  for (const auto& [M, N, K] : {std::array<std::int64_t, 3>{1, 1, 1},
                                {1, 384, 128},        // generation
                                {3, 5, 7},            // nothing is a multiple of anything
                                {17, 130, 65},        //
                                {64, 96, 0},          // an empty sum
                                {129, 257, 33},       // several ragged tiles
                                {768, 384, 128},      // a layer of the debugging model
                                {600, 1000, 40},      // more tiles than wanted
                                {1, 48, 500},         // a row against all of b, in two parts
                                {7, 33, 384},         // the most terms of one part
                                {100, 20, 385},       // the fewest of two
                                {13, 40, 768},        // two parts without remainder
                                {111, 100, 4100},     // three parts of pairs
                                {200, 192, 2050}}) {  // few outputs, long sums: a weight gradient
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        shapes.push_back({M, N, K, transpose_a, transpose_b});
      }
    }
  }
  shapes.push_back({24, 50304, 16, false, true});  // a head of a real vocabulary
  return shapes;
}

INSTANTIATE_TEST_SUITE_P(WaysAndShapes,
                         MatmulOf,
                         ::testing::Combine(::testing::ValuesIn(testing::kMatmulWays),
                                            ::testing::ValuesIn(all_shapes())));

TEST(Matmul, DoesNothingForEmptyOutputs) {
  ThreadPool pool(2);
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const auto& [M, N] : {std::array<std::int64_t, 2>{0, 5}, {5, 0}, {0, 0}}) {
      ops::Matmul args{};
      args.M = M;
      args.N = N;
      args.K = 3;
      args.dtype = dtype;
      EXPECT_EQ(matmul_scratch_bytes(args, pool), 0U);
      matmul(args, pool);
    }
  }
}

// Generation takes the scratch of its longest text once, for texts of any length; it computes in
// float32, which never goes through a primitive.
TEST(Matmul, NeedsNoMoreScratchForFewerRows) {
  for (const int num_threads : {1, 2, 48}) {
    const ThreadPool pool(num_threads);
    for (const MatmulWay& way : testing::kMatmulWays) {
      if (way.by_primitive) continue;
      for (const auto& [N, K] :
           {std::array<std::int64_t, 2>{384, 128}, {1536, 384}, {50304, 768}}) {
        ops::Matmul args{};
        args.N = N;
        args.K = K;
        args.dtype = way.dtype;
        for (const bool transpose_b : {false, true}) {
          args.transpose_b = transpose_b;
          std::size_t previous = 0;
          for (args.M = 1; args.M <= 1100; ++args.M) {
            const std::size_t bytes = way.scratch_bytes(args, pool);
            ASSERT_GE(bytes, previous) << way.name << ", " << args.M << " x " << N << " x " << K;
            previous = bytes;
          }
        }
      }
    }
  }
}

TEST(Matmul, RefusesBiasWhenItAccumulates) {
  ThreadPool pool(1);
  std::vector<float> ones(4, 1.0F);
  std::vector<float> c(4);
  ops::Matmul args{.c = c.data(),
                   .a = ones.data(),
                   .b = ones.data(),
                   .bias_or_null = ones.data(),
                   .residual_or_null = nullptr,
                   .M = 2,
                   .N = 2,
                   .K = 2,
                   .transpose_a = false,
                   .transpose_b = false,
                   .accumulate = true,
                   .scratch = nullptr};
  EXPECT_THROW(matmul(args, pool), InternalError);
}

TEST(Matmul, TakesTheWayOfTheBuildForFloat32) {
#if defined(__AVX2__) && defined(__FMA__) && !defined(__AVX512F__)
  constexpr bool kOurs = true;
#else
  constexpr bool kOurs = false;
#endif
  const ThreadPool pool(1);
  ops::Matmul args{};
  args.M = args.N = args.K = 64;
  EXPECT_EQ(matmul_scratch_bytes(args, pool) > 0, kOurs);
  args.M = 1;  // generation: the library's, which takes no scratch
  EXPECT_EQ(matmul_scratch_bytes(args, pool), 0U);
}

TEST(Matmul, TakesTheWayOfTheCpuForBFloat16) {
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
  constexpr bool kPairs = true;
#else
  constexpr bool kPairs = false;
#endif
  ThreadPool pool(1);
  const MatmulWay automatic{"bfloat16", DType::kBFloat16, matmul, matmul_scratch_bytes, false};
  const MatmulWay& without_pairs = testing::kMatmulWays[cpu_multiplies_bfloat16() ? 2 : 1];
  for (const std::int64_t M : {1, 40}) {  // a few rows do not pay for packing
    const MatmulShape s{M, 60, 50};
    const std::vector<BFloat16> a = to_elements<BFloat16>(random_values("a", s.M * s.K));
    const std::vector<BFloat16> b = to_elements<BFloat16>(random_values("b", s.K * s.N));
    const MatmulWay& expected = kPairs && M > 1 ? testing::kMatmulWays.back() : without_pairs;
    const auto product_by = [&](const MatmulWay& way) {
      std::vector<float> c(static_cast<std::size_t>(s.M * s.N));
      way.run({c.data(), a.data(), b.data(), nullptr, nullptr, s.M, s.N, s.K, false, false,
               /*accumulate=*/true, nullptr},
              pool);
      return c;
    };
    EXPECT_TRUE(same_bits(product_by(automatic), product_by(expected))) << M << " rows";
  }
}

}  // namespace
}  // namespace halfpipe::cpu
