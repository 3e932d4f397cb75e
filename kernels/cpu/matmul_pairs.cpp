// SPDX-License-Identifier: Apache-2.0
// Blocks, parts and pieces as in matmul_blocked.cpp: all threads pack what a part of a block's sums
// reads, then take pieces of the block. How an element is summed depends on K alone.
// One core of an AMD EPYC (Zen 4; 234 GFLOP/s of such multiplications from registers): 202 to 222
// GFLOP/s for the products of a block of width 384, oneDNN's matmul 189 to 221, least where it
// interleaves b or its output is large.
#include "kernels/cpu/matmul_pairs.h"

#include <algorithm>
#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/matmul_tiles.h"
#include "kernels/cpu/packing_pairs.h"

namespace halfpipe::cpu {
namespace {

// A block of c: packed, 1024 rows of a are 4 MiB and 1536 columns of b 6 MiB, of any product.
constexpr std::int64_t kMaxBlockRows = 1024;
constexpr std::int64_t kMaxBlockColumns = 1536;
constexpr std::int64_t kBlockRowsPerThread = 192;
// Rows and columns of a piece: so much of b stays in a core's L2 while its rows pass, and each row
// is fetched from farther away once.
constexpr std::int64_t kPieceRows = 96;
constexpr std::int64_t kMaxPieceElements = std::int64_t{192} << 10;
constexpr std::int64_t kFewestPieceColumns = 96;
constexpr std::int64_t kPiecesPerThread = 8;
static_assert(kMaxBlockColumns % kRegisterColumns == 0 && kPieceRows % kPairRows == 0 &&
              kBlockRowsPerThread % kPieceRows == 0 && kFewestPieceColumns % kRegisterColumns == 0);
// Rows of a that lie a page or more apart are packed: each would be a page of its own, and all of
// them might share a set of L1.
constexpr std::int64_t kPageElements = 2048;

/// Terms of a sum that are added before they are added to the rest: equal parts, even but for the
/// last.
std::int64_t depth_of_part(std::int64_t K) {
  constexpr std::int64_t kGranularity = kTensorAlignment / sizeof(BFloat16);
  const std::int64_t num_parts = std::max<std::int64_t>(1, ceil_div(K, kMaxPairedDepth));
  return std::min(K, round_up(ceil_div(K, num_parts), kGranularity));
}

bool reads_a_in_place(const ops::Matmul& args) {
  return !args.transpose_a && args.K % 2 == 0 && args.K < kPageElements;
}
/// Rows of a block. Those of a transposed a are written and read once or twice: few of them stay
/// nearer to the cores.
std::int64_t max_block_rows(const ops::Matmul& args, const ThreadPool& pool) {
  if (reads_a_in_place(args)) return args.M;
  const std::int64_t most = args.transpose_a
                                ? std::min(kMaxBlockRows, kBlockRowsPerThread * pool.num_threads())
                                : kMaxBlockRows;
  return std::min(args.M, most);
}

/// What all threads share while they work on a block of c.
struct PairsScratch {
  BFloat16* a;  // packed, unless a is read in place
  BFloat16* b;  // packed
  float* sums;  // [rows, columns] of the block, where there are several parts and c is bfloat16

  PairsScratch(void* base, const ops::Matmul& args, std::int64_t block_rows)
      : a(static_cast<BFloat16*>(base)),
        b(a + a_elements(args, block_rows)),
        sums(reinterpret_cast<float*>(b + b_elements(args))) {}

  /// Grows with M and N to a bound.
  static std::size_t bytes(const ops::Matmul& args, std::int64_t block_rows) {
    const bool has_sums = !args.accumulate && depth_of_part(args.K) < args.K;
    const std::int64_t sums = has_sums ? block_rows * columns(args) : 0;
    return static_cast<std::size_t>(a_elements(args, block_rows) + b_elements(args)) *
               sizeof(BFloat16) +
           padded_bytes(static_cast<std::size_t>(sums) * sizeof(float));
  }

 private:
  static constexpr std::int64_t kLine = kTensorAlignment / sizeof(BFloat16);

  static std::int64_t columns(const ops::Matmul& args) {
    return std::min(args.N, kMaxBlockColumns);
  }
  static std::int64_t a_elements(const ops::Matmul& args, std::int64_t block_rows) {
    if (reads_a_in_place(args)) return 0;
    return round_up(ceil_div(block_rows, kPairRows) * panel_elements(depth_of_part(args.K)), kLine);
  }
  static std::int64_t b_elements(const ops::Matmul& args) {
    return round_up(
        ceil_div(columns(args), kRegisterColumns) * sliver_elements(depth_of_part(args.K)), kLine);
  }
};

/// What becomes of the sums of a part of a block: what `addend` holds is added; then they are
/// stored in float32, or bias and residual are added, too, and they are rounded into c. Pointers
/// are null for what is not there, and lead to the block's first element.
struct Destination {
  const float* addend;
  float* sums;
  std::int64_t sums_stride;  // of addend, too
  BFloat16* c;
  const BFloat16* bias;
  const BFloat16* residual;
  std::int64_t c_stride;  // of residual, too

  [[nodiscard]] Destination at(std::int64_t row, std::int64_t column) const {
    Destination part = *this;
    if (addend != nullptr) part.addend += row * sums_stride + column;
    if (sums != nullptr) part.sums += row * sums_stride + column;
    if (c != nullptr) part.c += row * c_stride + column;
    if (bias != nullptr) part.bias += column;
    if (residual != nullptr) part.residual += row * c_stride + column;
    return part;
  }

  /// The rows of c, and of what is added, are far apart: they arrive while the sums are made.
  [[gnu::always_inline]] void prefetch(std::int64_t i) const {
    if (c != nullptr) __builtin_prefetch(c + i * c_stride, /*rw=*/1);
    if (residual != nullptr) __builtin_prefetch(residual + i * c_stride);
    if (sums != nullptr) {
      __builtin_prefetch(sums + i * sums_stride, /*rw=*/1);
      __builtin_prefetch(sums + i * sums_stride + kRegisterColumns - 1, /*rw=*/1);
    }
  }

  /// Row i, of `columns` columns; overwrites `row`.
  template <typename Columns>
  [[gnu::always_inline]] void store(std::int64_t i, float* row, Columns columns) const {
    for_each_lanes(0, columns, [&](std::int64_t j, auto width) {
      Lanes sum_of_terms = load_all(row + j);
      if (addend != nullptr) sum_of_terms += load(addend + i * sums_stride + j, width);
      if (bias != nullptr) sum_of_terms += load(bias + j, width);
      if (residual != nullptr) sum_of_terms += load(residual + i * c_stride + j, width);
      if (sums != nullptr) {
        halfpipe::cpu::store(sums + i * sums_stride + j, sum_of_terms, width);
      } else {
        store_all(row + j, sum_of_terms);
      }
    });
    if (c == nullptr) return;
    if (columns == kRegisterColumns) {
      round_lanes(row, kRegisterColumns, c + i * c_stride);
    } else {
      BFloat16 rounded[kRegisterColumns];
      round_lanes(row, kRegisterColumns, rounded);
      std::copy_n(rounded, static_cast<std::int64_t>(columns), c + i * c_stride);
    }
  }
};

/// kRows rows times one sliver. Not inlined: what surrounds the loop costs it registers.
template <std::int64_t kRows>
[[gnu::noinline]] void multiply_rows(const PairOperands& operands,
                                     std::int64_t columns,
                                     const Destination& to) {
  alignas(64) float sums[kRows * kRegisterColumns];
  for (std::int64_t i = 0; i < kRows; ++i) to.prefetch(i);
  multiply_pair_registers<kRows, kRegisterVectors>(
      operands, [&](std::int64_t i, std::int64_t j, FloatVector sum) {
        store_vector(sums + i * kRegisterColumns + j * kVectorLanes, sum);
      });
  for (std::int64_t i = 0; i < kRows; ++i) {
    float* const row = sums + i * kRegisterColumns;
    if (columns == kRegisterColumns) {
      to.store(i, row, std::integral_constant<std::int64_t, kRegisterColumns>{});
    } else {
      to.store(i, row, columns);
    }
  }
}

/// A part of the sums of a piece.
void multiply_piece(const PairPanels& a,
                    const BFloat16* packed_b,  // of the whole block
                    std::int64_t depth,
                    const Tile& piece,
                    const Destination& block) {
  const Destination to = block.at(piece.row, piece.column);
  const BFloat16* const first_panel = a.base + piece.row / kPairRows * a.panel_stride;
  for (std::int64_t j = 0; j < piece.columns; j += kRegisterColumns) {
    const BFloat16* const sliver =
        packed_b + (piece.column + j) / kRegisterColumns * sliver_elements(depth);
    const BFloat16* panel = first_panel;
    for (std::int64_t i = 0; i < piece.rows; i += kPairRows, panel += a.panel_stride) {
      const PairOperands operands{panel,  a.row_stride,         a.pair_stride,
                                  sliver, 2 * kRegisterColumns, num_pairs_of(depth)};
      with_row_count<kPairRows>(std::min(kPairRows, piece.rows - i), [&](auto num_rows) {
        multiply_rows<num_rows.value>(operands, std::min(kRegisterColumns, piece.columns - j),
                                      to.at(i, j));
      });
    }
  }
}

/// Pieces of a block, enough of them for threads that are not equally fast.
Tiling pieces_of(std::int64_t rows,
                 std::int64_t columns,
                 std::int64_t depth,
                 std::int64_t num_threads) {
  const std::int64_t row_pieces = ceil_div(rows, kPieceRows);
  std::int64_t most = std::min(round_up(columns, kRegisterColumns),
                               kMaxPieceElements / std::max(depth, std::int64_t{1}));
  while (row_pieces * ceil_div(columns, most) < kPiecesPerThread * num_threads &&
         most > kFewestPieceColumns) {
    most /= 2;
  }
  const std::int64_t piece_columns =
      std::max(kFewestPieceColumns, most / kRegisterColumns * kRegisterColumns);
  return {kPieceRows, piece_columns, row_pieces, ceil_div(columns, piece_columns)};
}

class Block {
 public:
  Block(const ops::Matmul& args, const Tile& tile, ThreadPool& pool)
      : args_(args),
        tile_(tile),
        pool_(pool),
        scratch_(args.scratch, args, max_block_rows(args, pool)),
        pieces_(pieces_of(tile.rows, tile.columns, depth_of_part(args.K), pool.num_threads())) {}

  void multiply(bool b_is_packed) const {
    const std::int64_t part = depth_of_part(args_.K);
    std::int64_t k = 0;
    do {  // once at least: an empty sum is 0
      const std::int64_t depth = std::min(part, args_.K - k);
      pack(k, depth, b_is_packed);
      const PairPanels a = reads_a_in_place(args_)
                               ? pair_panels_of_rows(a_at(0, k), a_stride(args_))
                               : packed_pair_panels(scratch_.a, depth, args_.transpose_a);
      const Destination to = destination(/*first=*/k == 0, /*last=*/k + depth == args_.K);
      pool_.parallel_for(pieces_.num_tiles(), [&](std::int64_t index) {
        multiply_piece(a, scratch_.b, depth, tile_at(pieces_, index, tile_.rows, tile_.columns),
                       to);
      });
      k += depth;
    } while (k < args_.K);
  }

 private:
  [[nodiscard]] Destination destination(bool first, bool last) const {
    const std::int64_t offset = tile_.row * args_.N + tile_.column;
    Destination to{};
    if (args_.accumulate) {
      to.sums = static_cast<float*>(args_.c) + offset;
      to.sums_stride = args_.N;
      to.addend = to.sums;
      return to;
    }
    to.sums_stride = tile_.columns;
    if (!first) to.addend = scratch_.sums;
    if (!last) {
      to.sums = scratch_.sums;
      return to;
    }
    to.c = static_cast<BFloat16*>(args_.c) + offset;
    to.c_stride = args_.N;
    if (args_.bias_or_null != nullptr) {
      to.bias = static_cast<const BFloat16*>(args_.bias_or_null) + tile_.column;
    }
    if (args_.residual_or_null != nullptr) {
      to.residual = static_cast<const BFloat16*>(args_.residual_or_null) + offset;
    }
    return to;
  }

  [[nodiscard]] const BFloat16* a_at(std::int64_t row, std::int64_t k) const {
    return static_cast<const BFloat16*>(args_.a) + a_offset(args_, tile_.row + row, k);
  }
  [[nodiscard]] const BFloat16* b_at(std::int64_t k, std::int64_t column) const {
    return static_cast<const BFloat16*>(args_.b) + b_offset(args_, k, tile_.column + column);
  }

  /// What the terms k .. k + depth read of a and b.
  void pack(std::int64_t k, std::int64_t depth, bool b_is_packed) const {
    constexpr std::int64_t kColumnsPerTask = kSliversTogether * kRegisterColumns;
    constexpr std::int64_t kRowsPerTask = kPanelsTogether * kPairRows;
    const std::int64_t b_tasks = b_is_packed ? 0 : ceil_div(tile_.columns, kColumnsPerTask);
    const std::int64_t a_tasks = reads_a_in_place(args_) ? 0 : ceil_div(tile_.rows, kRowsPerTask);
    pool_.parallel_for(b_tasks + a_tasks, [&](std::int64_t task) {
      if (task < b_tasks) {
        const std::int64_t column = task * kColumnsPerTask;
        pack_slivers(b_at(k, column), b_stride(args_), args_.transpose_b, depth,
                     std::min(kColumnsPerTask, tile_.columns - column),
                     scratch_.b + column / kRegisterColumns * sliver_elements(depth));
        return;
      }
      const std::int64_t row = (task - b_tasks) * kRowsPerTask;
      pack_panels(a_at(row, k), a_stride(args_), args_.transpose_a, depth,
                  std::min(kRowsPerTask, tile_.rows - row), args_.M - tile_.row - row,
                  scratch_.a + row / kPairRows * panel_elements(depth));
    });
  }

  const ops::Matmul& args_;
  const Tile& tile_;
  ThreadPool& pool_;
  PairsScratch scratch_;
  Tiling pieces_;
};

}  // namespace

void matmul_pairs(const ops::Matmul& args, ThreadPool& pool) {
  const std::int64_t block_rows = max_block_rows(args, pool);
  const Tiling blocks{block_rows, kMaxBlockColumns, ceil_div(args.M, block_rows),
                      ceil_div(args.N, kMaxBlockColumns)};
  for (std::int64_t index = 0; index < blocks.num_tiles(); ++index) {
    const Tile tile = tile_at(blocks, index, args.M, args.N);
    // Rows vary fastest: b of one part stays packed while they pass.
    const bool b_is_packed = tile.row > 0 && depth_of_part(args.K) == args.K;
    Block(args, tile, pool).multiply(b_is_packed);
  }
}

std::size_t matmul_pairs_scratch_bytes(const ops::Matmul& args, const ThreadPool& pool) {
  return args.M == 0 || args.N == 0 ? 0 : PairsScratch::bytes(args, max_block_rows(args, pool));
}

}  // namespace halfpipe::cpu
