// SPDX-License-Identifier: Apache-2.0
// A block of c at a time, and of its sums a part at a time: all threads pack what the part reads of
// a and b, then take pieces of the block. So every element is packed once or twice, and pieces are
// small enough for threads that are not equally fast. How an element is summed depends on K alone.
#include "kernels/cpu/matmul_blocked.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/core/align.h"
#include "kernels/core/bfloat16.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/matmul_tiles.h"
#include "kernels/cpu/packing.h"
#include "kernels/cpu/register_tile.h"

namespace halfpipe::cpu {
namespace {

// A block of c: packed, 1024 rows of a are 2 MiB and 1536 columns of b 3 MiB, of any product.
constexpr std::int64_t kMaxPackedBlockRows = 1024;
constexpr std::int64_t kMaxBlockColumns = 1536;
// Columns of a piece, unless more pieces are wanted: 192 KiB of b stay in a core's L2 beside the
// rows.
constexpr std::int64_t kMostPieceColumns = 96;
constexpr std::int64_t kFewestPieceColumns = 3 * kRegisterColumns;
constexpr std::int64_t kPiecesPerThread = 8;
static_assert(kMaxBlockColumns % kRegisterColumns == 0 &&
              kMostPieceColumns % kRegisterColumns == 0);

/// Terms of a sum that are added before they are added to c: equal parts.
std::int64_t depth_of_part(std::int64_t K) {
  const std::int64_t num_parts = std::max<std::int64_t>(1, ceil_div(K, kMaxDepth));
  return std::min(K, round_up(ceil_div(K, num_parts), kLinesAtOnce));
}

bool sums_in_c(const ops::Matmul& args) {
  return args.accumulate || args.dtype == DType::kFloat32;
}
bool reads_a_in_place(const ops::Matmul& args) {
  return args.dtype == DType::kFloat32 && !args.transpose_a;
}
/// Rows of a block; b is packed once for each block.
std::int64_t max_block_rows(const ops::Matmul& args) {
  return reads_a_in_place(args) ? args.M : std::min(args.M, kMaxPackedBlockRows);
}

/// What all threads share while they work on a block of c.
struct BlockedScratch {
  float* a;     // packed, unless a is read in place
  float* b;     // packed
  float* sums;  // [rows, columns] of the block, where c itself cannot hold them

  BlockedScratch(float* base, const ops::Matmul& args)
      : a(base), b(a + a_floats(args)), sums(b + b_floats(args)) {}

  /// Grows with M and N to a bound.
  static std::size_t bytes(const ops::Matmul& args) {
    const std::int64_t sums = sums_in_c(args) ? 0 : max_block_rows(args) * columns(args);
    return padded_bytes(static_cast<std::size_t>(a_floats(args) + b_floats(args) + sums) *
                        sizeof(float));
  }

 private:
  static constexpr std::int64_t kLine = kTensorAlignment / sizeof(float);

  static std::int64_t columns(const ops::Matmul& args) {
    return std::min(args.N, kMaxBlockColumns);
  }
  static std::int64_t a_floats(const ops::Matmul& args) {
    if (reads_a_in_place(args)) return 0;
    return round_up(packed_a_floats(depth_of_part(args.K), max_block_rows(args)), kLine);
  }
  static std::int64_t b_floats(const ops::Matmul& args) {
    return round_up(packed_b_floats(depth_of_part(args.K), columns(args)), kLine);
  }
};

/// What becomes of the sums of a part of a block: they are added to what c holds, or they are new,
/// and bias and residual, rows that begin at the same element as c, are added to them.
struct Destination {
  float* c;
  std::int64_t stride;
  bool adds_to_c;
  const float* bias_or_null;
  const float* residual_or_null;
  std::int64_t residual_stride;

  [[nodiscard]] Destination at(std::int64_t row, std::int64_t column) const {
    Destination part = *this;
    part.c += row * stride + column;
    if (bias_or_null != nullptr) part.bias_or_null += column;
    if (residual_or_null != nullptr) part.residual_or_null += row * residual_stride + column;
    return part;
  }

  [[gnu::always_inline]] void store(std::int64_t i, std::int64_t column, FloatVector sum) const {
    float* const element = c + i * stride + column;
    if (adds_to_c) sum = load_vector(element) + sum;
    if (bias_or_null != nullptr) sum += load_vector(bias_or_null + column);
    if (residual_or_null != nullptr) {
      sum += load_vector(residual_or_null + i * residual_stride + column);
    }
    store_vector(element, sum);
  }

  /// The same arithmetic, element by element: the last columns of c may be fewer than a vector.
  void store_columns(const float* sums, std::int64_t rows, std::int64_t columns) const {
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        float* const element = c + i * stride + j;
        float sum = sums[i * kRegisterColumns + j];
        if (adds_to_c) sum = *element + sum;
        if (bias_or_null != nullptr) sum += bias_or_null[j];
        if (residual_or_null != nullptr) sum += residual_or_null[i * residual_stride + j];
        *element = sum;
      }
    }
  }
};

/// kRows rows times one sliver. Not inlined: what surrounds the loop costs it registers.
template <std::int64_t kRows>
[[gnu::noinline]] void multiply_rows(const RegisterOperands& operands,
                                     std::int64_t columns,
                                     const Destination& to) {
  if (columns == kRegisterColumns) {
    // The rows of c, and of residual, are far apart: they arrive while the sums are made.
    for (std::int64_t i = 0; i < kRows; ++i) {
      __builtin_prefetch(to.c + i * to.stride, /*rw=*/1);
      __builtin_prefetch(to.c + i * to.stride + kRegisterColumns - 1, /*rw=*/1);
      if (to.residual_or_null == nullptr) continue;
      __builtin_prefetch(to.residual_or_null + i * to.residual_stride);
      __builtin_prefetch(to.residual_or_null + i * to.residual_stride + kRegisterColumns - 1);
    }
    multiply_registers<kRows, kRegisterVectors>(
        operands, [&](std::int64_t i, std::int64_t j, FloatVector sum) {
          to.store(i, j * kVectorLanes, sum);
        });
    return;
  }
  alignas(64) float sums[kRegisterRows * kRegisterColumns];
  multiply_registers<kRows, kRegisterVectors>(
      operands, [&](std::int64_t i, std::int64_t j, FloatVector sum) {
        store_vector(sums + i * kRegisterColumns + j * kVectorLanes, sum);
      });
  to.store_columns(sums, kRows, columns);
}

/// `depth` terms of the sums of a piece. Slivers of b change in the outer loop: one stays in L1
/// while all rows pass.
void multiply_piece(const Panels& a,
                    const float* packed_b,  // of the whole block
                    std::int64_t depth,
                    const Tile& piece,
                    const Destination& block) {
  const Destination to = block.at(piece.row, piece.column);
  const float* const first_panel = a.base + piece.row / kRegisterRows * a.panel_stride;
  for (std::int64_t j = 0; j < piece.columns; j += kRegisterColumns) {
    const std::int64_t num_columns = std::min(kRegisterColumns, piece.columns - j);
    const float* const sliver = packed_b + (piece.column + j) * depth;
    const float* panel = first_panel;
    for (std::int64_t i = 0; i < piece.rows; i += kRegisterRows, panel += a.panel_stride) {
      const RegisterOperands operands{panel,  a.row_stride,     a.k_stride,
                                      sliver, kRegisterColumns, depth};
      with_row_count(std::min(kRegisterRows, piece.rows - i), [&](auto num_rows) {
        multiply_rows<num_rows.value>(operands, num_columns, to.at(i, j));
      });
    }
  }
}

/// Pieces of a block, enough of them for threads that are not equally fast.
Tiling pieces_of(std::int64_t rows, std::int64_t columns, std::int64_t num_threads) {
  std::int64_t piece_rows = std::min(round_up(rows, kRegisterRows), kMaxPackedRows);
  std::int64_t piece_columns = std::min(round_up(columns, kRegisterColumns), kMostPieceColumns);
  const auto num_pieces = [&] {
    return ceil_div(rows, piece_rows) * ceil_div(columns, piece_columns);
  };
  while (num_pieces() < kPiecesPerThread * num_threads && piece_columns > kFewestPieceColumns) {
    piece_columns = std::max(kFewestPieceColumns, round_up(piece_columns / 2, kRegisterColumns));
  }
  return {piece_rows, piece_columns, ceil_div(rows, piece_rows), ceil_div(columns, piece_columns)};
}

template <typename T>
class Block {
 public:
  Block(const ops::Matmul& args, const Tile& tile, ThreadPool& pool)
      : args_(args),
        tile_(tile),
        pool_(pool),
        scratch_(static_cast<float*>(args.scratch), args),
        pieces_(pieces_of(tile.rows, tile.columns, pool.num_threads())) {}

  void multiply() const {
    Destination to = first_destination();
    const std::int64_t part = depth_of_part(args_.K);
    std::int64_t k = 0;
    do {  // once at least: an empty sum is 0
      const std::int64_t depth = std::min(part, args_.K - k);
      pack(k, depth);
      const Panels a = panels(k, depth);
      pool_.parallel_for(pieces_.num_tiles(), [&](std::int64_t index) {
        multiply_piece(
            a, scratch_.b, depth,
            tile_of_share_at(pieces_, index, pool_.num_threads(), tile_.rows, tile_.columns), to);
      });
      to.adds_to_c = true;
      to.bias_or_null = nullptr;
      to.residual_or_null = nullptr;
      k += depth;
    } while (k < args_.K);
    if (!sums_in_c(args_)) store_sums();
  }

 private:
  /// Where the sums of the first terms go.
  [[nodiscard]] Destination first_destination() const {
    if (!sums_in_c(args_)) return {scratch_.sums, tile_.columns, false, nullptr, nullptr, 0};
    const std::int64_t offset = tile_.row * args_.N + tile_.column;
    const auto* const bias = static_cast<const float*>(args_.bias_or_null);
    const auto* const residual = static_cast<const float*>(args_.residual_or_null);
    return {static_cast<float*>(args_.c) + offset,
            args_.N,
            args_.accumulate,
            bias == nullptr ? nullptr : bias + tile_.column,
            residual == nullptr ? nullptr : residual + offset,
            args_.N};
  }

  [[nodiscard]] const T* a_at(std::int64_t row, std::int64_t k) const {
    return static_cast<const T*>(args_.a) + a_offset(args_, tile_.row + row, k);
  }
  [[nodiscard]] const T* b_at(std::int64_t k, std::int64_t column) const {
    return static_cast<const T*>(args_.b) + b_offset(args_, k, tile_.column + column);
  }

  /// What the terms k .. k + depth read of a and b.
  void pack(std::int64_t k, std::int64_t depth) const {
    const std::int64_t b_groups = ceil_div(tile_.columns, kMaxPackedColumns);
    const std::int64_t a_groups =
        reads_a_in_place(args_) ? 0 : ceil_div(tile_.rows, kMaxPackedRows);
    pool_.parallel_for(b_groups + a_groups, [&](std::int64_t group) {
      if (group < b_groups) {
        const std::int64_t column = group * kMaxPackedColumns;
        pack_b(b_at(k, column), b_stride(args_), args_.transpose_b, depth,
               std::min(kMaxPackedColumns, tile_.columns - column), scratch_.b + column * depth);
      } else {
        const std::int64_t row = (group - b_groups) * kMaxPackedRows;
        pack_a(a_at(row, k), a_stride(args_), args_.transpose_a, depth,
               std::min(kMaxPackedRows, tile_.rows - row), scratch_.a + row * depth);
      }
    });
  }

  [[nodiscard]] Panels panels(std::int64_t k, std::int64_t depth) const {
    if constexpr (std::is_same_v<T, float>) {
      if (reads_a_in_place(args_)) return panels_of_rows(a_at(0, k), a_stride(args_));
    }
    return args_.transpose_a ? packed_panels(scratch_.a, depth) : panels_of_rows(scratch_.a, depth);
  }
  void store_sums() const {
    pool_.parallel_for(ceil_div(tile_.rows, kMaxPackedRows), [&](std::int64_t group) {
      const std::int64_t row = group * kMaxPackedRows;
      store_tile(args_,
                 {tile_.row + row, tile_.column, std::min(kMaxPackedRows, tile_.rows - row),
                  tile_.columns},
                 scratch_.sums + row * tile_.columns);
    });
  }

  const ops::Matmul& args_;
  const Tile& tile_;
  ThreadPool& pool_;
  BlockedScratch scratch_;
  Tiling pieces_;
};

}  // namespace

void matmul_blocked(const ops::Matmul& args, ThreadPool& pool) {
  const std::int64_t block_rows = max_block_rows(args);
  const Tiling blocks{block_rows, kMaxBlockColumns, ceil_div(args.M, block_rows),
                      ceil_div(args.N, kMaxBlockColumns)};
  for (std::int64_t index = 0; index < blocks.num_tiles(); ++index) {
    const Tile tile = tile_at(blocks, index, args.M, args.N);
    with_element_type(args.dtype, [&]<typename T>() { Block<T>(args, tile, pool).multiply(); });
  }
}

std::size_t matmul_blocked_scratch_bytes(const ops::Matmul& args, const ThreadPool& /*pool*/) {
  return args.M == 0 || args.N == 0 ? 0 : BlockedScratch::bytes(args);
}

}  // namespace halfpipe::cpu
