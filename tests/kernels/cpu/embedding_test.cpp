// SPDX-License-Identifier: Apache-2.0
// Token plus position embedding on the CPU against the float64 reference.
#include "kernels/cpu/embedding.h"

#include <gtest/gtest.h>

#include <tuple>
#include <vector>

#include "tests/kernels/central_differences.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cpu/thread_counts.h"
#include "tests/kernels/element_tolerance.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;
using testing::near_reference;
using testing::random_values;
using testing::representable;
using testing::to_elements;
using testing::to_float32;
using testing::to_float64;
using Results = std::vector<std::vector<float>>;

constexpr std::int64_t kB = 3;
constexpr std::int64_t kFirstPosition = 2;
// Up to 3 * 130 equal tokens are added one by one in float32 (6e-8 each, random signs).
constexpr double kTolerance = 1e-6;

class Embedding
    : public ::testing::TestWithParam<std::tuple<DType, std::int64_t, std::int64_t, std::int64_t>> {
 protected:
  Embedding() {
    tokens.front() = 0;
    tokens.back() = static_cast<std::int32_t>(V - 1);
  }

  DType dtype = std::get<0>(GetParam());
  std::int64_t T = std::get<1>(GetParam());
  std::int64_t C = std::get<2>(GetParam());
  std::int64_t V = std::get<3>(GetParam());
  std::int64_t T_max = T + kFirstPosition;
  std::vector<std::int32_t> tokens = testing::random_indices("tokens", kB* T, V);
  std::vector<float> token_table = representable(random_values("token_table", V* C), dtype);
  std::vector<float> position_table =
      representable(random_values("position_table", T_max* C), dtype);
  std::vector<float> dout = representable(random_values("dout", kB* T* C), dtype);

  // The rows of a table that are of these ids.
  [[nodiscard]] std::vector<float> rows_of(const std::vector<float>& table,
                                           const ops::TokenIds& ids) const {
    return {table.begin() + ids.begin * C, table.begin() + ids.end * C};
  }

  // {out}
  Results forward(DType type, ThreadPool& pool, std::int64_t first_position) const {
    Results results;
    testing::with_elements(type, [&](auto element) {
      using E = decltype(element);
      const GuardedBuffer<E> out(kB * T * C);
      const GuardedBuffer<std::int32_t> tokens_buffer(tokens);
      const GuardedBuffer<E> tokens_of(to_elements<E>(token_table));
      const GuardedBuffer<E> positions_of(to_elements<E>(position_table));
      embedding_forward({out.get(), tokens_buffer.get(), tokens_of.get(), positions_of.get(), kB, T,
                         C, first_position, type},
                        pool);
      results = {to_float32(out.values())};
    });
    return results;
  }

  // {dtoken_table, dposition_table} after accumulating on top of the forward tables
  Results backward(ThreadPool& pool) const {
    const GuardedBuffer<float> dtoken_table(token_table);
    const GuardedBuffer<float> dposition_table(position_table);
    const GuardedBuffer<std::int32_t> tokens_buffer(tokens);
    testing::with_elements(dtype, [&](auto element) {
      using E = decltype(element);
      const GuardedBuffer<E> dout_buffer(to_elements<E>(dout));
      embedding_backward_weight({dtoken_table.get(), dposition_table.get(), dout_buffer.get(),
                                 tokens_buffer.get(), kB, T, C, dtype},
                                pool);
    });
    return {dtoken_table.values(), dposition_table.values()};
  }
};

TEST_P(Embedding, ForwardMatchesReference) {
  for (const std::int64_t first_position : {std::int64_t{0}, kFirstPosition}) {
    const auto expected = reference::embedding(
        tokens, to_float64(token_table), to_float64(position_table), {kB, T, C, first_position});
    const Results actual = testing::run_with_any_threads(
        [&](ThreadPool& pool) { return forward(dtype, pool, first_position); });
    EXPECT_TRUE(near_reference(actual[0], expected, testing::element_tolerance(dtype, 1e-7)));
  }
}

TEST_P(Embedding, ForwardRoundsTheFloat32ResultOnce) {
  ThreadPool pool(1);
  EXPECT_TRUE(
      testing::same_bits(forward(dtype, pool, kFirstPosition)[0],
                         representable(forward(DType::kFloat32, pool, kFirstPosition)[0], dtype)));
}

// Gradients of tables are float32 whatever the type of dout: they keep float32's tolerance.
TEST_P(Embedding, BackwardAccumulates) {
  auto expected = reference::embedding_backward(to_float64(dout), tokens, V, T_max, {kB, T, C});
  for (std::size_t i = 0; i < token_table.size(); ++i) expected.dtoken_table[i] += token_table[i];
  for (std::size_t i = 0; i < position_table.size(); ++i) {
    expected.dposition_table[i] += position_table[i];
  }
  const Results actual =
      testing::run_with_any_threads([&](ThreadPool& pool) { return backward(pool); });
  EXPECT_TRUE(near_reference(actual[0], expected.dtoken_table, kTolerance));
  EXPECT_TRUE(near_reference(actual[1], expected.dposition_table, kTolerance));
}

// A table of some ids: of those in the middle, of the last ones, of none. Without positions, too.
TEST_P(Embedding, ForwardOfSomeIdsMatchesReference) {
  ThreadPool pool(2);
  for (const ops::TokenIds ids : {ops::TokenIds{V / 3, V - V / 4}, {V / 2, V}, {V, V}}) {
    const auto rows = rows_of(token_table, ids);
    for (const auto& positions : {position_table, std::vector<float>{}}) {
      const auto expected = reference::embedding(tokens, to_float64(rows), to_float64(positions),
                                                 {kB, T, C, kFirstPosition, ids.begin});
      testing::with_elements(dtype, [&](auto element) {
        using E = decltype(element);
        const GuardedBuffer<E> out(kB * T * C);
        const GuardedBuffer<std::int32_t> tokens_buffer(tokens);
        const GuardedBuffer<E> tokens_of(to_elements<E>(rows));
        const GuardedBuffer<E> positions_of(to_elements<E>(positions));
        embedding_forward({out.get(), tokens_buffer.get(), tokens_of.get(),
                           positions.empty() ? nullptr : positions_of.get(), kB, T, C,
                           kFirstPosition, dtype, ids},
                          pool);
        EXPECT_TRUE(near_reference(to_float32(out.values()), expected,
                                   testing::element_tolerance(dtype, 1e-7)));
      });
    }
  }
}

// As if the other rows were not there: the same bits as those of the whole table.
TEST_P(Embedding, BackwardOfSomeIdsIsThatOfTheWhole) {
  ThreadPool pool(2);
  const Results whole = backward(pool);
  for (const ops::TokenIds ids : {ops::TokenIds{V / 3, V - V / 4}, {V / 2, V}, {V, V}}) {
    const GuardedBuffer<float> dtoken_table(rows_of(token_table, ids));
    const GuardedBuffer<float> dposition_table(position_table);
    const GuardedBuffer<std::int32_t> tokens_buffer(tokens);
    testing::with_elements(dtype, [&](auto element) {
      using E = decltype(element);
      const GuardedBuffer<E> dout_buffer(to_elements<E>(dout));
      embedding_backward_weight({dtoken_table.get(), dposition_table.get(), dout_buffer.get(),
                                 tokens_buffer.get(), kB, T, C, dtype, ids},
                                pool);
    });
    EXPECT_TRUE(testing::same_bits(dtoken_table.values(), rows_of(whole[0], ids)));
    EXPECT_TRUE(testing::same_bits(dposition_table.values(), whole[1]));
  }
}

INSTANTIATE_TEST_SUITE_P(TypesLengthsWidthsVocabularies,
                         Embedding,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(1, 3, 17, 130),
                                            ::testing::Values(1, 5, 16, 33, 384, 1000),
                                            ::testing::Values(1, 2, 65)));
INSTANTIATE_TEST_SUITE_P(Gpt2Vocabulary,
                         Embedding,
                         ::testing::Values(std::tuple{DType::kFloat32, 17, 33, 50257},
                                           std::tuple{DType::kBFloat16, 17, 33, 50257}));

// 2^24 + 1 is 2^24 in float32 and 1 + 1 + 2^24 is not: the result tells the order of the sum.
TEST(EmbeddingBackwardWeight, AddsEqualTokensInOrder) {
  constexpr float kLarge = 16777216.0F;
  const std::vector<std::int32_t> tokens{0, 0, 0, 1, 1, 1};
  const std::vector<float> dout{kLarge, 1.0F, 1.0F, 1.0F, 1.0F, kLarge};  // [1, 6, 1]
  std::vector<float> dtoken_table(2, 0.0F);
  std::vector<float> dposition_table(6, 0.0F);
  ThreadPool pool(2);
  embedding_backward_weight(
      {dtoken_table.data(), dposition_table.data(), dout.data(), tokens.data(), 1, 6, 1}, pool);
  EXPECT_EQ(dtoken_table, (std::vector<float>{kLarge, kLarge + 2.0F}));
  EXPECT_EQ(dposition_table, dout);
}

TEST(EmbeddingReference, BackwardIsTheDerivativeOfForward) {
  const std::vector<std::int32_t> tokens{1, 0, 1, 1, 2, 1};
  const reference::EmbeddingDims dims{2, 3, 2};
  const auto token_table = to_float64(random_values("token_table", 6));
  const auto position_table = to_float64(random_values("position_table", 6));
  const auto dout = to_float64(random_values("dout", 12));
  const auto gradients = reference::embedding_backward(dout, tokens, 3, 3, dims);
  auto of_tokens = [&](const reference::Values& v) {
    return reference::embedding(tokens, v, position_table, dims);
  };
  auto of_positions = [&](const reference::Values& v) {
    return reference::embedding(tokens, token_table, v, dims);
  };
  using testing::central_differences;
  using testing::largest_difference;
  EXPECT_LT(
      largest_difference(gradients.dtoken_table, central_differences(of_tokens, token_table, dout)),
      testing::kCentralDifferenceTolerance);
  EXPECT_LT(largest_difference(gradients.dposition_table,
                               central_differences(of_positions, position_table, dout)),
            testing::kCentralDifferenceTolerance);
}

}  // namespace
}  // namespace halfpipe::cpu
