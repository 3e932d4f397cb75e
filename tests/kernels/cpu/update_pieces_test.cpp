// SPDX-License-Identifier: Apache-2.0
// Lists of arrays: each becomes what it is by itself, with any number of threads.
#include "tests/kernels/update_pieces.h"

#include <gtest/gtest.h>

#include <optional>
#include <span>
#include <vector>

#include "kernels/cpu/optimizer.h"
#include "kernels/cpu/reduction.h"
#include "tests/kernels/cpu/thread_counts.h"
#include "tests/kernels/guarded_buffer.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;

/// Of float32 or bfloat16.
class HostArray {
 public:
  HostArray(DType dtype, const std::vector<float>& values) {
    if (dtype == DType::kBFloat16) {
      halves_.emplace(testing::to_elements<BFloat16>(values));
    } else {
      floats_.emplace(values);
    }
  }
  [[nodiscard]] void* get() const {
    return halves_ ? static_cast<void*>(halves_->get()) : static_cast<void*>(floats_->get());
  }
  [[nodiscard]] std::vector<float> values() const {
    return halves_ ? testing::to_float32(halves_->values()) : floats_->values();
  }

 private:
  std::optional<GuardedBuffer<float>> floats_;
  std::optional<GuardedBuffer<BFloat16>> halves_;
};

TEST(AdamWPieces, HaveTheBitsThatEachHasByItself) {
  using enum ops::AdamWWrites;
  for (const int num_threads : {1, 3}) {
    ThreadPool pool(num_threads);
    const auto run = [&](std::span<const ops::AdamW> pieces) { adamw_pieces(pieces, pool); };
    for (const DType moments : {DType::kFloat32, DType::kBFloat16}) {
      for (const ops::AdamWWrites writes : {kAll, kParam, kCopy}) {
        for (const bool from_elsewhere : {false, true}) {
          testing::expect_pieces_as_by_themselves<HostArray>(
              {moments, writes, from_elsewhere, /*differs=*/true}, run);
        }
      }
    }
  }
}

TEST(AdamWPieces, MatchTheReference) {
  ThreadPool pool(2);
  const auto run = [&](std::span<const ops::AdamW> pieces) { adamw_pieces(pieces, pool); };
  testing::expect_pieces_of_reference<HostArray>(run);
  testing::expect_moments_rounded_by_piece<HostArray>(run);
}

TEST(SumOfSquaresPieces, HaveTheBitsThatEachHasByItself) {
  ThreadPool pool(2);
  const auto x = testing::random_values("x", testing::elements_of_pieces());
  std::vector<ops::SumOfSquares> pieces;
  std::vector<double> expected;
  for (const testing::PieceShape& shape : testing::piece_shapes()) {
    pieces.push_back({nullptr, x.data() + shape.begin, shape.count});
    std::vector<double> sums(static_cast<std::size_t>(num_square_blocks(shape.count)));
    sum_of_squares({sums.data(), pieces.back().x, shape.count}, pool);
    expected.insert(expected.end(), sums.begin(), sums.end());
  }
  const GuardedBuffer<double> out(static_cast<std::int64_t>(expected.size()));
  double* next = out.get();
  for (ops::SumOfSquares& piece : pieces) {
    piece.out = next;
    next += num_square_blocks(piece.count);
  }
  sum_of_squares_pieces(pieces, pool);
  EXPECT_EQ(out.values(), expected);
}

}  // namespace
}  // namespace halfpipe::cpu
