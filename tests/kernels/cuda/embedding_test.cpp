// SPDX-License-Identifier: Apache-2.0
// Token plus position embedding on the GPU: forward against the float64 reference, backward also
// bit by bit, because its order of additions is fixed.
#include "kernels/cuda/embedding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "tests/kernels/compare.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/element_tolerance.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::cuda {
namespace {

using testing::DeviceArray;
using testing::near_reference;
using testing::random_values;
using testing::representable;
using testing::to_float64;
using Values = std::vector<float>;

constexpr std::int64_t kB = 3;
constexpr std::int64_t kFirstPosition = 2;

// Element type, T, C, V, elements past a 16-byte boundary at which dout and the output begin.
class Embedding : public ::testing::TestWithParam<
                      std::tuple<DType, std::int64_t, std::int64_t, std::int64_t, std::size_t>> {
 protected:
  Embedding() {
    tokens.front() = 0;
    tokens.back() = static_cast<std::int32_t>(V - 1);
  }

  DType dtype = std::get<0>(GetParam());
  std::int64_t T = std::get<1>(GetParam());
  std::int64_t C = std::get<2>(GetParam());
  std::int64_t V = std::get<3>(GetParam());
  std::size_t offset = std::get<4>(GetParam());
  std::int64_t T_max = T + kFirstPosition;
  std::vector<std::int32_t> tokens = testing::random_indices("tokens", kB* T, V);
  Values token_table = representable(random_values("token_table", V* C), dtype);
  Values position_table = representable(random_values("position_table", T_max* C), dtype);
  Values dout = representable(random_values("dout", kB* T* C), dtype);

  // The rows of a table that are of these ids.
  [[nodiscard]] Values rows_of(const Values& table, const ops::TokenIds& ids) const {
    return {table.begin() + ids.begin * C, table.begin() + ids.end * C};
  }

  [[nodiscard]] Values forward(std::int64_t first_position) const {
    const DeviceArray out(dtype, kB * T * C, offset);
    const DeviceArray tokens_array(tokens);
    const DeviceArray tokens_of(dtype, token_table);
    const DeviceArray positions_of(dtype, position_table);
    embedding_forward({out.get(), tokens_array.as<std::int32_t>(), tokens_of.get(),
                       positions_of.get(), kB, T, C, first_position, dtype},
                      nullptr);
    return out.values();
  }

  // {dtoken_table, dposition_table} after accumulating on top of the forward tables
  [[nodiscard]] std::vector<Values> backward() const {
    const DeviceArray dtoken_table(DType::kFloat32, token_table);
    const DeviceArray dposition_table(DType::kFloat32, position_table);
    const DeviceArray dout_array(dtype, dout, offset);
    const DeviceArray tokens_array(tokens);
    embedding_backward_weight({dtoken_table.as<float>(), dposition_table.as<float>(),
                               dout_array.get(), tokens_array.as<std::int32_t>(), kB, T, C, dtype},
                              nullptr);
    return {dtoken_table.values(), dposition_table.values()};
  }

  // The same, rows added to the tables one by one in float32.
  [[nodiscard]] std::vector<Values> backward_in_order() const {
    std::vector<Values> tables{token_table, position_table};
    for (std::int64_t row = 0; row < kB * T; ++row) {
      for (std::int64_t c = 0; c < C; ++c) {
        const float value = dout[static_cast<std::size_t>(row * C + c)];
        const std::int64_t token = tokens[static_cast<std::size_t>(row)];
        tables[0][static_cast<std::size_t>(token * C + c)] += value;
        tables[1][static_cast<std::size_t>(row % T * C + c)] += value;
      }
    }
    return tables;
  }
};

TEST_P(Embedding, ForwardMatchesReference) {
  for (const std::int64_t first_position : {std::int64_t{0}, kFirstPosition}) {
    const auto expected = reference::embedding(
        tokens, to_float64(token_table), to_float64(position_table), {kB, T, C, first_position});
    const Values actual = forward(first_position);
    EXPECT_TRUE(near_reference(actual, expected, testing::element_tolerance(dtype, 1e-7)));
    EXPECT_TRUE(testing::same_bits(forward(first_position), actual));
  }
}

TEST_P(Embedding, BackwardAccumulatesInOrder) {
  auto expected = reference::embedding_backward(to_float64(dout), tokens, V, T_max, {kB, T, C});
  for (std::size_t i = 0; i < token_table.size(); ++i) expected.dtoken_table[i] += token_table[i];
  for (std::size_t i = 0; i < position_table.size(); ++i) {
    expected.dposition_table[i] += position_table[i];
  }
  const auto actual = backward();
  // Thousands of equal tokens at most are added one by one in float32 (6e-8 each, random signs).
  EXPECT_TRUE(near_reference(actual[0], expected.dtoken_table, 1e-5));
  EXPECT_TRUE(near_reference(actual[1], expected.dposition_table, 1e-6));
  const auto in_order = backward_in_order();
  EXPECT_TRUE(testing::same_bits(actual[0], in_order[0]));
  EXPECT_TRUE(testing::same_bits(actual[1], in_order[1]));
}

// A table of some ids: of those in the middle, of the last ones, of none. Without positions, too.
TEST_P(Embedding, ForwardOfSomeIdsMatchesReference) {
  for (const ops::TokenIds ids : {ops::TokenIds{V / 3, V - V / 4}, {V / 2, V}, {V, V}}) {
    const Values rows = rows_of(token_table, ids);
    const DeviceArray tokens_array(tokens);
    const DeviceArray tokens_of(dtype, rows);
    for (const Values& positions : {position_table, Values{}}) {
      const DeviceArray out(dtype, kB * T * C, offset);
      const DeviceArray positions_of(dtype, positions);
      embedding_forward(
          {out.get(), tokens_array.as<std::int32_t>(), tokens_of.get(),
           positions.empty() ? nullptr : positions_of.get(), kB, T, C, kFirstPosition, dtype, ids},
          nullptr);
      const auto expected = reference::embedding(tokens, to_float64(rows), to_float64(positions),
                                                 {kB, T, C, kFirstPosition, ids.begin});
      EXPECT_TRUE(near_reference(out.values(), expected, testing::element_tolerance(dtype, 1e-7)));
    }
  }
}

// As if the other rows were not there: the same bits as those of the whole table.
TEST_P(Embedding, BackwardOfSomeIdsIsThatOfTheWhole) {
  const auto whole = backward_in_order();
  for (const ops::TokenIds ids : {ops::TokenIds{V / 3, V - V / 4}, {V / 2, V}, {V, V}}) {
    const DeviceArray dtoken_table(DType::kFloat32, rows_of(token_table, ids));
    const DeviceArray dposition_table(DType::kFloat32, position_table);
    const DeviceArray dout_array(dtype, dout, offset);
    const DeviceArray tokens_array(tokens);
    embedding_backward_weight(
        {dtoken_table.as<float>(), dposition_table.as<float>(), dout_array.get(),
         tokens_array.as<std::int32_t>(), kB, T, C, dtype, ids},
        nullptr);
    EXPECT_TRUE(testing::same_bits(dtoken_table.values(), rows_of(whole[0], ids)));
    EXPECT_TRUE(testing::same_bits(dposition_table.values(), whole[1]));
  }
}

const auto kBothTypes = ::testing::Values(DType::kFloat32, DType::kBFloat16);
INSTANTIATE_TEST_SUITE_P(LengthsWidthsVocabularies,
                         Embedding,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(1, 17, 130),
                                            ::testing::Values(1, 5, 16, 33, 392),
                                            ::testing::Values(1, 2, 65),
                                            ::testing::Values(0)));
INSTANTIATE_TEST_SUITE_P(UnalignedRows,
                         Embedding,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(17),
                                            ::testing::Values(16),
                                            ::testing::Values(65),
                                            ::testing::Values(1)));
// Several tiles of 4096 tokens, one of them partly filled; tokens that never occur, that occur in
// one tile and in all of them.
INSTANTIATE_TEST_SUITE_P(ManyTokens,
                         Embedding,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(3000),
                                            ::testing::Values(8),
                                            ::testing::Values(1, 3, 700, 50'257),
                                            ::testing::Values(0)));

// 2^24 + 1 is 2^24 in float32 and 1 + 1 + 2^24 is not: the result tells the order of the sum.
TEST(EmbeddingBackwardWeight, AddsEqualTokensInOrder) {
  constexpr float kLarge = 16777216.0F;
  const DeviceArray tokens(std::vector<std::int32_t>{0, 0, 0, 1, 1, 1});
  const Values rows{kLarge, 1.0F, 1.0F, 1.0F, 1.0F, kLarge};
  const DeviceArray dout(DType::kFloat32, rows);  // [1, 6, 1]
  const DeviceArray dtoken_table(DType::kFloat32, Values(2, 0.0F));
  const DeviceArray dposition_table(DType::kFloat32, Values(6, 0.0F));
  embedding_backward_weight({dtoken_table.as<float>(), dposition_table.as<float>(), dout.get(),
                             tokens.as<std::int32_t>(), 1, 6, 1},
                            nullptr);
  EXPECT_EQ(dtoken_table.values(), (Values{kLarge, kLarge + 2.0F}));
  EXPECT_EQ(dposition_table.values(), rows);
}

TEST(EmbeddingBackwardWeight, NanReachesItsTokenAndPositionAlone) {
  const DeviceArray tokens(std::vector<std::int32_t>{1, 0, 1});
  Values rows(3 * 8, 1.0F);
  rows[2 * 8 + 3] = std::nanf("");
  const DeviceArray dout(DType::kBFloat16, rows);  // [1, 3, 8]
  const DeviceArray dtoken_table(DType::kFloat32, Values(2 * 8, 0.0F));
  const DeviceArray dposition_table(DType::kFloat32, Values(3 * 8, 0.0F));
  embedding_backward_weight({dtoken_table.as<float>(), dposition_table.as<float>(), dout.get(),
                             tokens.as<std::int32_t>(), 1, 3, 8, DType::kBFloat16},
                            nullptr);
  const Values of_tokens = dtoken_table.values();
  const Values of_positions = dposition_table.values();
  for (std::size_t i = 0; i < of_tokens.size(); ++i) {
    EXPECT_EQ(std::isnan(of_tokens[i]), i == 8 + 3);
  }
  for (std::size_t i = 0; i < of_positions.size(); ++i) {
    EXPECT_EQ(std::isnan(of_positions[i]), i == 2 * 8 + 3);
  }
}

// A warp has a position of up to four sequences: fewer, just as many, and some more.
TEST(EmbeddingForward, WritesEverySequence) {
  constexpr std::int64_t kT = 11;
  constexpr std::int64_t kV = 20;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const std::int64_t C : {5, 24}) {
      const Values token_table = representable(random_values("token_table", kV * C), dtype);
      const Values position_table = representable(random_values("position_table", kT * C), dtype);
      const DeviceArray tokens_of(dtype, token_table);
      const DeviceArray positions_of(dtype, position_table);
      for (const std::int64_t B : {1, 2, 4, 5, 9}) {
        const auto tokens = testing::random_indices("tokens", B * kT, kV);
        const DeviceArray tokens_array(tokens);
        const DeviceArray out(dtype, B * kT * C);
        embedding_forward({out.get(), tokens_array.as<std::int32_t>(), tokens_of.get(),
                           positions_of.get(), B, kT, C, 0, dtype},
                          nullptr);
        const auto expected = reference::embedding(tokens, to_float64(token_table),
                                                   to_float64(position_table), {B, kT, C, 0});
        EXPECT_TRUE(
            near_reference(out.values(), expected, testing::element_tolerance(dtype, 1e-7)));
      }
    }
  }
}

TEST(EmbeddingForward, EmptyInputIsNoWork) {
  embedding_forward({nullptr, nullptr, nullptr, nullptr, 0, 4, 8, 0}, nullptr);
  embedding_backward_weight({nullptr, nullptr, nullptr, nullptr, 0, 4, 8}, nullptr);
}

}  // namespace
}  // namespace halfpipe::cuda
