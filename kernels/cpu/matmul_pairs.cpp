// SPDX-License-Identifier: Apache-2.0
// Blocks, parts and pieces as in matmul_blocked.cpp: all threads pack what a part of a block's sums
// reads, then take pieces of the block. How an element is summed depends on K alone.
// One core of an AMD EPYC (Zen 4; 234 GFLOP/s of such multiplications from registers): 212 to 229
// GFLOP/s for the products of a block of width 384 and of a head of 50304 columns, least for the
// gradients of weights, whose operands both have to be interleaved; oneDNN's matmul 189 to 221.
#include "kernels/cpu/matmul_pairs.h"

#include <algorithm>
#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/matmul_tiles.h"
#include "kernels/cpu/packing_pairs.h"
#include "kernels/cpu/pair_tile.h"

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
// Rows of a that lie multiples of 2 KiB apart are packed: they would share few sets of the caches.
constexpr std::int64_t kSharedSetsElements = 1024;
// Rows of a that are longer than this are not read twice from where they lie.
constexpr std::int64_t kPageElements = 2048;

bool reads_a_in_place(const ops::Matmul& args) {
  return !args.transpose_a && args.K % 2 == 0 &&
         (args.K < kPageElements || args.K % kSharedSetsElements != 0);
}
bool has_long_rows_in_place(const ops::Matmul& args) {
  return reads_a_in_place(args) && args.K >= kPageElements;
}
/// Whether sums wait for more terms, elsewhere than in c.
bool has_waiting_sums(const ops::Matmul& args) {
  return !args.accumulate && depth_of_part(args.K) < args.K;
}
std::int64_t block_columns(const ops::Matmul& args) {
  return std::min(args.N, kMaxBlockColumns);
}
/// Rows of a block. Those of a transposed a are written and read once or twice: few of them stay
/// nearer to the cores.
std::int64_t max_block_rows(const ops::Matmul& args, const ThreadPool& pool) {
  std::int64_t most = kMaxBlockRows;
  if (reads_a_in_place(args)) {
    most = has_waiting_sums(args)
               ? kMaxBlockRows * kMaxBlockColumns / block_columns(args) / kPieceRows * kPieceRows
               : args.M;
  } else if (args.transpose_a) {
    most = std::min(kMaxBlockRows, kBlockRowsPerThread * pool.num_threads());
  }
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
    const std::int64_t sums = has_waiting_sums(args) ? block_rows * block_columns(args) : 0;
    return static_cast<std::size_t>(a_elements(args, block_rows) + b_elements(args)) *
               sizeof(BFloat16) +
           padded_bytes(static_cast<std::size_t>(sums) * sizeof(float));
  }

 private:
  static constexpr std::int64_t kLine = kTensorAlignment / sizeof(BFloat16);

  static std::int64_t a_elements(const ops::Matmul& args, std::int64_t block_rows) {
    if (reads_a_in_place(args)) return 0;
    return round_up(ceil_div(block_rows, kPairRows) * panel_elements(depth_of_part(args.K)), kLine);
  }
  static std::int64_t b_elements(const ops::Matmul& args) {
    return round_up(
        ceil_div(block_columns(args), kRegisterColumns) * sliver_elements(depth_of_part(args.K)),
        kLine);
  }
};

/// A part of the sums of a piece.
void multiply_piece(const PairPanels& a,
                    const BFloat16* packed_b,  // of the whole block
                    std::int64_t depth,
                    const Tile& piece,
                    const PairDestination& to) {
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
  if (to.streams) finish_streams();
}

/// Pieces of a block, enough of them for threads that are not equally fast. Rows that would be
/// fetched from memory for each of several pieces are multiplied with all columns at once: b comes
/// from farther away then, which costs less.
Tiling pieces_of(const ops::Matmul& args, const Tile& block, std::int64_t num_threads) {
  const std::int64_t row_pieces = ceil_div(block.rows, kPieceRows);
  const std::int64_t fewest = kPiecesPerThread * num_threads;
  const std::int64_t all_columns = round_up(block.columns, kRegisterColumns);
  if (has_long_rows_in_place(args) && row_pieces >= fewest) {
    return {kPieceRows, all_columns, row_pieces, 1};
  }
  std::int64_t most =
      std::min(all_columns, kMaxPieceElements / std::max(depth_of_part(args.K), std::int64_t{1}));
  while (row_pieces * ceil_div(block.columns, most) < fewest && most > kFewestPieceColumns) {
    most /= 2;
  }
  const std::int64_t piece_columns =
      std::max(kFewestPieceColumns, most / kRegisterColumns * kRegisterColumns);
  return {kPieceRows, piece_columns, row_pieces, ceil_div(block.columns, piece_columns)};
}

class Block {
 public:
  Block(const ops::Matmul& args, const Tile& tile, ThreadPool& pool)
      : args_(args),
        tile_(tile),
        pool_(pool),
        scratch_(args.scratch, args, max_block_rows(args, pool)),
        pieces_(pieces_of(args, tile, pool.num_threads())) {}

  void multiply(bool b_is_packed) const {
    const std::int64_t part = depth_of_part(args_.K);
    std::int64_t k = 0;
    do {  // once at least: an empty sum is 0
      const std::int64_t depth = std::min(part, args_.K - k);
      pack(k, depth, b_is_packed);
      const PairPanels a = reads_a_in_place(args_)
                               ? pair_panels_of_rows(a_at(0, k), a_stride(args_))
                               : packed_pair_panels(scratch_.a, depth, args_.transpose_a);
      const PairDestination to =
          destination_of(args_, tile_, scratch_.sums, k == 0, k + depth == args_.K);
      pool_.parallel_for(pieces_.num_tiles(), [&](std::int64_t index) {
        const Tile piece =
            tile_of_share_at(pieces_, index, pool_.num_threads(), tile_.rows, tile_.columns);
        multiply_piece(a, scratch_.b, depth, piece, to.at(piece.row, piece.column));
      });
      k += depth;
    } while (k < args_.K);
  }

 private:
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
