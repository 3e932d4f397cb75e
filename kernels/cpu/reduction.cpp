// SPDX-License-Identifier: Apache-2.0
// Sums with a fixed order: squares in float64 for the gradient norm, element-wise accumulation,
// sums over rows for bias gradients, and sums of the parts that tensor ranks have.
#include "kernels/cpu/reduction.h"

#include <algorithm>
#include <array>

#include "kernels/core/align.h"
#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

namespace {

// Elements of one block of sum_of_squares.
constexpr std::int64_t kSquaresPerBlock = 4096;
static_assert(ops::kSquaresCut % kSquaresPerBlock == 0);
// Within a block the additions form one chain, each waiting for the one before; eight blocks side
// by side fill that wait.
constexpr std::int64_t kBlocksTogether = 8;

double sum_of_squares_of_block(const float* x, std::int64_t count) {
  double total = 0.0;
  for (std::int64_t i = 0; i < count; ++i) {
    const double value = x[i];
    total += value * value;
  }
  return total;
}

void sum_of_squares_of_full_blocks(const float* x, double* block_sums) {
  std::array<double, kBlocksTogether> total{};
  for (std::int64_t i = 0; i < kSquaresPerBlock; ++i) {
    for (std::size_t b = 0; b < kBlocksTogether; ++b) {
      const double value = x[static_cast<std::int64_t>(b) * kSquaresPerBlock + i];
      total[b] += value * value;
    }
  }
  std::copy(total.begin(), total.end(), block_sums);
}

template <typename T>
void sum_parts_of_row(const ops::SumParts& args, std::int64_t n) {
  const T* bias = static_cast<const T*>(args.bias_or_null);
  const T* residual = static_cast<const T*>(args.residual_or_null);
  const std::int64_t row = n * args.C;
  const auto part = [&](std::int64_t k) {
    return k == args.own_index ? static_cast<const T*>(args.own) + row
                               : static_cast<const T*>(args.parts) + k * args.N * args.C + row;
  };
  T* out = static_cast<T*>(args.out) + row;
  for_each_lanes(0, args.C, [&](std::int64_t c, auto width) {
    Lanes sum = load(part(0) + c, width);
    for (std::int64_t k = 1; k < args.num_parts; ++k) sum += load(part(k) + c, width);
    if (bias != nullptr) sum += load(bias + c, width);
    if (residual != nullptr) sum += load(residual + row + c, width);
    store(out + c, sum, width);
  });
}

}  // namespace

std::int64_t num_square_blocks(std::int64_t count) {
  return ceil_div(count, kSquaresPerBlock);
}

void sum_of_squares(const ops::SumOfSquares& args, ThreadPool& pool) {
  constexpr std::int64_t kElements = kSquaresPerBlock * kBlocksTogether;
  for_each_block(pool, args.count, kElements, [&](std::int64_t begin, std::int64_t end) {
    double* sums = args.out + begin / kSquaresPerBlock;
    if (end - begin == kElements) {
      sum_of_squares_of_full_blocks(args.x + begin, sums);
      return;
    }
    for (std::int64_t i = begin; i < end; i += kSquaresPerBlock) {
      *sums++ = sum_of_squares_of_block(args.x + i, std::min(kSquaresPerBlock, end - i));
    }
  });
}

void sum_of_squares_pieces(std::span<const ops::SumOfSquares> pieces, ThreadPool& pool) {
  for (const ops::SumOfSquares& args : pieces) sum_of_squares(args, pool);
}

void accumulate(const ops::Accumulate& args, ThreadPool& pool) {
  for_each_element_block(pool, args.count, [&](std::int64_t begin, std::int64_t end) {
    float* dst = args.dst;
    const float* src = args.src;
    for (std::int64_t i = begin; i < end; ++i) dst[i] += src[i];
  });
}

void column_sum(const ops::ColumnSum& args, ThreadPool& pool) {
  with_element_type(args.dtype, [&]<typename T>() {
    const T* x = static_cast<const T*>(args.x);
    for_each_column_block(pool, args.N, args.C, [&](std::int64_t begin, std::int64_t end) {
      add_column_sums<1>({args.dst}, args.N, begin, end,
                         [&](std::int64_t n, std::int64_t c, std::int64_t width,
                             LanesOfSums<1>& sums) { sums[0] += load(x + n * args.C + c, width); });
    });
  });
}

void sum_parts(const ops::SumParts& args, ThreadPool& pool) {
  with_element_type(args.dtype, [&]<typename T>() {
    for_each_row_block(pool, args.N, args.C, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) sum_parts_of_row<T>(args, n);
    });
  });
}

void round_to_bfloat16(const ops::RoundToBFloat16& args, ThreadPool& pool) {
  for_each_element_block(pool, args.count, [&](std::int64_t begin, std::int64_t end) {
    convert(args.src + begin, end - begin, args.dst + begin);
  });
}

}  // namespace halfpipe::cpu
