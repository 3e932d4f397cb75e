// SPDX-License-Identifier: Apache-2.0
// Causal attention on the CPU against the float64 reference.
#include "kernels/cpu/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <tuple>
#include <vector>

#include "kernels/cpu/attention_float32.h"
#include "kernels/cpu/attention_pairs.h"
#include "kernels/cpu/bfloat16_pairs.h"
#include "tests/kernels/attention_reference.h"
#include "tests/kernels/central_differences.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cpu/thread_counts.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::ops {
std::ostream& operator<<(std::ostream& stream, const AttentionDims& d) {
  return stream << "B" << d.B << " T" << d.T << " NH" << d.NH << " HS" << d.HS;
}
}  // namespace halfpipe::ops

namespace halfpipe::cpu {
namespace {

using ops::AttentionDims;
using testing::GuardedBuffer;
using testing::near_reference;
using testing::random_values;
using testing::representable;
using testing::same_bits;
using testing::to_elements;
using testing::to_float32;
using testing::to_float64;
using testing::with_elements;
using Results = std::vector<std::vector<float>>;

// float32 roundings of two products (3e-8 times a random walk) and of exp (1.1 ulp = 1.3e-7) of
// scores that are themselves rounded to 1 ulp of values up to 10.
constexpr double kForwardTolerance = 1e-6;
// The backward pass has p twice, and a difference (dp - delta) that cancels.
constexpr double kBackwardTolerance = 3e-6;
// Beside the rounding of dqkv that of out, from which delta comes.
constexpr double kBFloat16BackwardTolerance = 2 * testing::kBFloat16Rounding;
// A rounding to bfloat16 is 2^-9 at most and 1.1e-3 as a norm: one of the probabilities and one of
// the result; backward, one of the gradients of scores, too. As on a GPU.
constexpr double kPairsForwardTolerance = 2.5e-3;
constexpr double kPairsBackwardTolerance = 4e-3;

/// A way of the CPU backend to compute attention, one of which attention_forward() takes: all keep
/// its contract.
struct AttentionWay {
  const char* name;
  DType dtype;
  bool by_pairs;  // even head sizes alone
  void (*forward)(const ops::AttentionForward& args, ThreadPool& pool);
  std::size_t (*forward_scratch_bytes)(const AttentionDims&, DType, const ThreadPool&);
  void (*backward)(const ops::AttentionBackwardInput& args, ThreadPool& pool);
  std::size_t (*backward_scratch_bytes)(const AttentionDims&, DType, const ThreadPool&);
};

std::ostream& operator<<(std::ostream& stream, const AttentionWay& way) {
  return stream << way.name;
}

const AttentionWay kWays[] = {
    {"float32", DType::kFloat32, false, attention_forward_float32,
     attention_forward_float32_scratch_bytes, attention_backward_input_float32,
     attention_backward_float32_scratch_bytes},
    {"bfloat16_widened", DType::kBFloat16, false, attention_forward_float32,
     attention_forward_float32_scratch_bytes, attention_backward_input_float32,
     attention_backward_float32_scratch_bytes},
    {"bfloat16_pairs", DType::kBFloat16, true, attention_forward_pairs,
     attention_forward_pairs_scratch_bytes, attention_backward_input_pairs,
     attention_backward_pairs_scratch_bytes}};

const AttentionDims kShapes[] = {{1, 1, 1, 8},      // one position
                                 {2, 3, 2, 24},     //
                                 {2, 17, 3, 64},    // part of a block
                                 {1, 32, 2, 16},    // exactly one block
                                 {3, 65, 1, 80},    //
                                 {1, 128, 1, 128},  // one key block
                                 {2, 130, 2, 8},    // just into the second
                                 {1, 300, 1, 20},   // three, ragged
                                 {1, 40, 2, 1},     // heads of one number
                                 {1, 513, 1, 64}};

/// With operands of element type T, all guarded, and scratch of exactly the size asked for, NaN in
/// either type.
template <typename T>
struct GuardedAttention {
  const AttentionWay& way;
  AttentionDims dims;
  ThreadPool& pool;
  std::int64_t count = dims.B * dims.T * dims.NH * dims.HS;

  /// {out, lse}
  Results forward(const std::vector<float>& qkv) const {
    const GuardedBuffer<T> qkv_buffer(to_elements<T>(qkv));
    const GuardedBuffer<T> out(count);
    const GuardedBuffer<float> lse(dims.B * dims.NH * dims.T);
    const GuardedBuffer<std::uint8_t> scratch(std::vector<std::uint8_t>(
        way.forward_scratch_bytes(dims, testing::kDTypeOf<T>, pool), 0xff));
    way.forward({.out = out.get(),
                 .lse = lse.get(),
                 .qkv = qkv_buffer.get(),
                 .dims = dims,
                 .scratch = scratch.get(),
                 .dtype = testing::kDTypeOf<T>},
                pool);
    return {to_float32(out.values()), lse.values()};
  }

  /// {dqkv}
  Results backward(const std::vector<float>& qkv,
                   const std::vector<float>& dout,
                   bool in_place) const {
    const Results saved = forward(qkv);
    const GuardedBuffer<T> qkv_buffer(to_elements<T>(qkv));
    const GuardedBuffer<T> dout_buffer(to_elements<T>(dout));
    const GuardedBuffer<T> out(to_elements<T>(saved[0]));
    const GuardedBuffer<float> lse(saved[1]);
    const GuardedBuffer<T> poisoned(3 * count);
    const GuardedBuffer<T>& dqkv = in_place ? qkv_buffer : poisoned;
    const GuardedBuffer<std::uint8_t> scratch(std::vector<std::uint8_t>(
        way.backward_scratch_bytes(dims, testing::kDTypeOf<T>, pool), 0xff));
    way.backward({.dqkv = dqkv.get(),
                  .dout = dout_buffer.get(),
                  .qkv = qkv_buffer.get(),
                  .out = out.get(),
                  .lse = lse.get(),
                  .dims = dims,
                  .scratch = scratch.get(),
                  .dtype = testing::kDTypeOf<T>},
                 pool);
    return {to_float32(dqkv.values())};
  }
};

class AttentionOf : public ::testing::TestWithParam<std::tuple<AttentionWay, AttentionDims>> {
 protected:
  AttentionWay way = std::get<0>(GetParam());
  DType dtype = way.dtype;
  AttentionDims dims = std::get<1>(GetParam());
  std::int64_t count = dims.B * dims.T * dims.NH * dims.HS;
  std::vector<float> qkv = representable(random_values("qkv", 3 * count), dtype);
  std::vector<float> dout = representable(random_values("dout", count), dtype);

  void SetUp() override {
    if (way.by_pairs && dims.HS % 2 != 0) GTEST_SKIP() << "pairs need an even head size";
  }

  Results forward(ThreadPool& pool) const {
    Results results;
    with_elements(dtype, [&]<typename T>(T) {
      results = GuardedAttention<T>{way, dims, pool}.forward(qkv);
    });
    return results;
  }

  Results backward(ThreadPool& pool, bool in_place) const {
    Results results;
    with_elements(dtype, [&]<typename T>(T) {
      results = GuardedAttention<T>{way, dims, pool}.backward(qkv, dout, in_place);
    });
    return results;
  }

  /// dv of dqkv: the part in which nothing but itself is rounded to the element type.
  template <typename Value>
  std::vector<Value> dv_of(const std::vector<Value>& dqkv) const {
    const std::int64_t C = dims.NH * dims.HS;
    std::vector<Value> dv;
    for (auto row = dqkv.begin(); row != dqkv.end(); row += 3 * C) {
      dv.insert(dv.end(), row + 2 * C, row + 3 * C);
    }
    return dv;
  }
};

TEST_P(AttentionOf, ForwardMatchesReference) {
  const auto expected = reference::attention(to_float64(qkv), dims);
  const Results actual =
      testing::run_with_any_threads([&](ThreadPool& pool) { return forward(pool); });
  EXPECT_TRUE(near_reference(actual[1], expected.lse, kForwardTolerance));
  if (way.by_pairs) {
    EXPECT_TRUE(near_reference(actual[0], expected.out, kPairsForwardTolerance));
  } else if (dtype == DType::kBFloat16) {
    EXPECT_TRUE(near_reference(actual[0], expected.out, testing::kBFloat16Rounding));
    EXPECT_TRUE(testing::rounded_once(actual[0], expected.out));
  } else {
    EXPECT_TRUE(near_reference(actual[0], expected.out, kForwardTolerance));
  }
}

TEST_P(AttentionOf, BackwardMatchesReference) {
  const auto expected = reference::attention_backward(to_float64(dout), to_float64(qkv), dims);
  const Results actual = testing::run_with_any_threads(
      [&](ThreadPool& pool) { return backward(pool, /*in_place=*/false); });
  if (way.by_pairs) {
    EXPECT_TRUE(near_reference(actual[0], expected, kPairsBackwardTolerance));
  } else if (dtype == DType::kBFloat16) {
    EXPECT_TRUE(near_reference(actual[0], expected, kBFloat16BackwardTolerance));
    EXPECT_TRUE(testing::rounded_once(dv_of(actual[0]), dv_of(expected)));
  } else {
    EXPECT_TRUE(near_reference(actual[0], expected, kBackwardTolerance));
  }
}

TEST_P(AttentionOf, BackwardMayOverwriteQkv) {
  ThreadPool pool(2);
  EXPECT_TRUE(same_bits(backward(pool, /*in_place=*/true)[0], backward(pool, false)[0]));
}

INSTANTIATE_TEST_SUITE_P(WaysAndShapes,
                         AttentionOf,
                         ::testing::Combine(::testing::ValuesIn(kWays),
                                            ::testing::ValuesIn(kShapes)));

TEST(Attention, TakesTheWayOfTheBuild) {
  ThreadPool pool(1);
  for (const std::int64_t HS : {std::int64_t{6}, std::int64_t{7}}) {
    const AttentionDims dims{1, 40, 1, HS};
    const bool by_pairs = kMultipliesPairs && HS % 2 == 0;
    EXPECT_EQ(attention_multiplies_pairs(dims, DType::kBFloat16), by_pairs);
    EXPECT_FALSE(attention_multiplies_pairs(dims, DType::kFloat32));
    const AttentionWay automatic{"bfloat16",
                                 DType::kBFloat16,
                                 by_pairs,
                                 attention_forward,
                                 attention_forward_scratch_bytes,
                                 attention_backward_input,
                                 attention_backward_scratch_bytes};
    const std::vector<float> qkv = random_values("qkv", 3 * 40 * HS);
    const std::vector<float> dout = random_values("dout", 40 * HS);
    const auto gradient_by = [&](const AttentionWay& way) {
      return GuardedAttention<BFloat16>{way, dims, pool}.backward(qkv, dout, false)[0];
    };
    EXPECT_TRUE(same_bits(gradient_by(automatic), gradient_by(kWays[by_pairs ? 2 : 1])));
  }
}

class AttentionDecodeOf : public ::testing::TestWithParam<AttentionDims> {};

// What is generated one position at a time is what training saw.
TEST_P(AttentionDecodeOf, MatchesTheLastPositionOfForward) {
  const AttentionDims dims = GetParam();
  const std::vector<float> qkv = random_values("qkv", 3 * dims.B * dims.T * dims.NH * dims.HS);
  ThreadPool pool(2);
  const std::int64_t C = dims.NH * dims.HS;
  const std::int64_t T_max = dims.T + 3;
  const GuardedBuffer<float> k(dims.B * T_max * C);  // NaN beyond position
  const GuardedBuffer<float> v(dims.B * T_max * C);
  for (std::int64_t b = 0; b < dims.B; ++b) {
    for (std::int64_t t = 0; t < dims.T; ++t) {
      const float* const row = qkv.data() + (b * dims.T + t) * 3 * C;
      std::copy_n(row + C, C, k.get() + (b * T_max + t) * C);
      std::copy_n(row + 2 * C, C, v.get() + (b * T_max + t) * C);
    }
  }
  const auto expected = reference::attention(to_float64(qkv), dims);
  for (const std::int64_t position : {std::int64_t{0}, dims.T / 2, dims.T - 1}) {
    const Results actual = testing::run_with_any_threads([&](ThreadPool& any_pool) {
      const GuardedBuffer<float> out(dims.B * C);
      attention_decode({.out = out.get(),
                        .q = qkv.data() + position * 3 * C,
                        .q_stride = dims.T * 3 * C,
                        .k = k.get(),
                        .v = v.get(),
                        .B = dims.B,
                        .T_max = T_max,
                        .NH = dims.NH,
                        .HS = dims.HS,
                        .position = position},
                       any_pool);
      return Results{out.values()};
    });
    std::vector<double> rows;
    for (std::int64_t b = 0; b < dims.B; ++b) {
      const auto begin = expected.out.begin() + (b * dims.T + position) * C;
      rows.insert(rows.end(), begin, begin + C);
    }
    EXPECT_TRUE(near_reference(actual[0], rows, kForwardTolerance)) << "position " << position;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionDecodeOf, ::testing::ValuesIn(kShapes));

TEST(AttentionReference, BackwardIsTheDerivativeOfForward) {
  const AttentionDims dims{1, 5, 2, 3};  // 30 numbers in out, 90 in qkv
  const auto qkv = to_float64(random_values("qkv", 90));
  const auto dout = to_float64(random_values("dout", 30));
  const auto numeric = testing::central_differences(
      [&](const std::vector<double>& x) { return reference::attention(x, dims).out; }, qkv, dout);
  EXPECT_LT(testing::largest_difference(reference::attention_backward(dout, qkv, dims), numeric),
            testing::kCentralDifferenceTolerance);
}

class AttentionBy : public ::testing::TestWithParam<AttentionWay> {};

INSTANTIATE_TEST_SUITE_P(Ways, AttentionBy, ::testing::ValuesIn(kWays));

TEST_P(AttentionBy, DoesNotSeeTheFuture) {
  constexpr std::int64_t T = 150;
  constexpr std::int64_t HS = 16;
  ThreadPool pool(1);
  std::vector<float> qkv = random_values("qkv", T * 3 * HS);
  const auto run = [&] {
    std::vector<float> out;
    with_elements(GetParam().dtype, [&]<typename Element>(Element) {
      out = GuardedAttention<Element>{GetParam(), {1, T, 1, HS}, pool}.forward(qkv)[0];
    });
    return out;
  };
  const std::vector<float> before = run();
  for (const std::size_t changed : {std::size_t{140}, std::size_t{70}}) {
    for (std::size_t i = changed * 3 * HS; i < qkv.size(); ++i) qkv[i] = 100.0F;
    const std::vector<float> after = run();
    const auto end = static_cast<std::ptrdiff_t>(changed * HS);
    EXPECT_TRUE(same_bits(std::vector<float>(before.begin(), before.begin() + end),
                          std::vector<float>(after.begin(), after.begin() + end)));
  }
}

// Scores of +-3e4 would overflow exp(); most probabilities are 0.
TEST_P(AttentionBy, SurvivesLargeScores) {
  constexpr std::int64_t T = 200;
  constexpr std::int64_t HS = 64;
  const AttentionDims dims{1, T, 1, HS};
  ThreadPool pool(1);
  const std::vector<float> qkv =
      representable(random_values("qkv", T * 3 * HS, /*deviation=*/50.0), GetParam().dtype);
  const std::vector<float> dout = representable(random_values("dout", T * HS), GetParam().dtype);
  with_elements(GetParam().dtype, [&]<typename Element>(Element) {
    const GuardedAttention<Element> attention{GetParam(), dims, pool};
    // Scores near 1e4 are rounded to 5e-4 each, and exp() makes that a relative error.
    constexpr double kTolerance = 5e-3;
    EXPECT_TRUE(near_reference(attention.forward(qkv)[0],
                               reference::attention(to_float64(qkv), dims).out, kTolerance));
    const Results gradient = attention.backward(qkv, dout, /*in_place=*/false);
    for (const float value : gradient[0]) ASSERT_TRUE(std::isfinite(value));
  });
}

}  // namespace
}  // namespace halfpipe::cpu
