// SPDX-License-Identifier: Apache-2.0
// Many arrays in few launches: what each of them is by itself.
#include "tests/kernels/update_pieces.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <tuple>
#include <vector>

#include "kernels/cuda/optimizer.h"
#include "kernels/cuda/reduction.h"
#include "tests/kernels/cuda/device_array.h"

namespace halfpipe::cuda {
namespace {

using testing::DeviceArray;

constexpr auto kRun = [](std::span<const ops::AdamW> pieces) { adamw_pieces(pieces, nullptr); };

class AdamWPiecesIn
    : public ::testing::TestWithParam<std::tuple<DType, ops::AdamWWrites, bool, bool>> {};

TEST_P(AdamWPiecesIn, HaveTheBitsThatEachHasByItself) {
  const auto [moments, writes, from_elsewhere, differs] = GetParam();
  testing::expect_pieces_as_by_themselves<DeviceArray>({moments, writes, from_elsewhere, differs},
                                                       kRun);
}

INSTANTIATE_TEST_SUITE_P(Ways,
                         AdamWPiecesIn,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(ops::AdamWWrites::kAll,
                                                              ops::AdamWWrites::kParam,
                                                              ops::AdamWWrites::kCopy),
                                            ::testing::Bool(),
                                            ::testing::Bool()));

TEST(AdamWPieces, MatchTheReference) {
  testing::expect_pieces_of_reference<DeviceArray>(kRun);
}

TEST(AdamWPieces, RoundMomentsWithTheWordsOfEach) {
  testing::expect_moments_rounded_by_piece<DeviceArray>(kRun);
}

TEST(AdamWPieces, OfAnEmptyListAreNothing) {
  adamw_pieces({}, nullptr);
  ops::AdamW nothing{};
  adamw_pieces({&nothing, 1}, nullptr);
  sum_of_squares_pieces({}, nullptr);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST(SumOfSquaresPieces, HaveTheBitsThatEachHasByItself) {
  const std::vector<float> values = testing::random_values("x", testing::elements_of_pieces());
  const DeviceArray x(DType::kFloat32, values);
  std::vector<ops::SumOfSquares> pieces;
  std::int64_t num_sums = 0;
  for (const testing::PieceShape& shape : testing::piece_shapes()) {
    pieces.push_back({nullptr, x.as<float>() + shape.begin, shape.count});
    num_sums += num_square_blocks(shape.count);
  }
  // A block of each of the 114 that are not empty, two of the longest: more than one launch.
  ASSERT_EQ(num_sums, 115);
  // Sums, of a float64 each, where two float32 elements are.
  const auto sums_by = [&](const auto& run) {
    const DeviceArray out(DType::kFloat32, 2 * num_sums);
    double* next = out.as<double>();
    for (ops::SumOfSquares& piece : pieces) {
      piece.out = next;
      next += num_square_blocks(piece.count);
    }
    run();
    std::vector<double> sums(static_cast<std::size_t>(num_sums));
    testing::require_success(
        cudaMemcpy(sums.data(), out.get(), sums.size() * sizeof(double), cudaMemcpyDeviceToHost));
    return sums;
  };
  const std::vector<double> together = sums_by([&] { sum_of_squares_pieces(pieces, nullptr); });
  EXPECT_EQ(together, sums_by([&] {
              for (const ops::SumOfSquares& piece : pieces) sum_of_squares(piece, nullptr);
            }));
  auto sum = together.begin();
  for (const testing::PieceShape& shape : testing::piece_shapes()) {
    const auto begin = values.begin() + shape.begin;
    const double expected = reference::sum_of_squares({begin, begin + shape.count});
    double actual = 0.0;
    for (std::int64_t i = 0; i < num_square_blocks(shape.count); ++i) actual += *sum++;
    // Float64 throughout, with a rounding of 1e-16 for each element.
    EXPECT_NEAR(actual, expected, 1e-13 * expected);
  }
}

}  // namespace
}  // namespace halfpipe::cuda
