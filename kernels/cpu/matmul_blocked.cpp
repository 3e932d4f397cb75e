// SPDX-License-Identifier: Apache-2.0
// A tile's operands are packed for the tile, a part of the sum at a time: each packed element of b
// serves up to 512 multiply-adds, each of a up to 384, and a thread needs at most 1.7 MB. How an
// element is summed depends on K alone, so that tiles may be cut to suit the threads.
#include "kernels/cpu/matmul_blocked.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/core/align.h"
#include "kernels/core/bfloat16.h"
#include "kernels/cpu/element_type.h"
#include "kernels/cpu/matmul_tiles.h"
#include "kernels/cpu/packing.h"
#include "kernels/cpu/register_tile.h"

namespace halfpipe::cpu {
namespace {

// Three blocks of packed rows.
constexpr std::int64_t kMaxTileRows = 512;

/// Terms of a sum that are added before they are added to c: equal parts.
std::int64_t depth_of_part(std::int64_t K) {
  return std::min(
      K, round_up(ceil_div(K, std::max<std::int64_t>(1, ceil_div(K, kMaxDepth))), kLinesAtOnce));
}

/// Tiles that end soonest when num_threads threads take one after the other.
Tiling balanced_tiling(std::int64_t M, std::int64_t N, std::int64_t num_threads) {
  // Multiply-adds in the time that packing takes for an element (0.25 ns on an AMD EPYC, Zen 3).
  constexpr std::int64_t kPacking = 12;
  constexpr std::int64_t kCuts = 16;  // 256 ways are looked at in some us
  Tiling best{};
  std::int64_t best_cost = std::numeric_limits<std::int64_t>::max();
  const std::int64_t fewest_row_tiles = ceil_div(M, kMaxTileRows);
  const std::int64_t fewest_column_tiles = ceil_div(N, kMaxPackedColumns);
  for (std::int64_t i = 0; i < kCuts; ++i) {
    const std::int64_t rows = round_up(ceil_div(M, fewest_row_tiles + i), kRegisterRows);
    for (std::int64_t j = 0; j < kCuts; ++j) {
      const std::int64_t columns = round_up(ceil_div(N, fewest_column_tiles + j), kRegisterColumns);
      const Tiling tiling{rows, columns, ceil_div(M, rows), ceil_div(N, columns)};
      const std::int64_t cost = ceil_div(tiling.num_tiles(), num_threads) *
                                (rows * columns + kPacking * (rows + columns));
      if (cost >= best_cost) continue;
      best = tiling;
      best_cost = cost;
    }
  }
  return best;
}

/// One thread's scratch.
struct BlockedScratch {
  float* a;     // a part of the tile's rows, packed; not there when they are read where they lie
  float* b;     // packed
  float* sums;  // [rows, columns] of the tile, where c itself cannot hold them

  BlockedScratch(float* base, const ops::Matmul& args, const Tiling& tiling)
      : a(base), b(a + a_floats(args, tiling)), sums(b + b_floats(args, tiling)) {}

  static std::size_t bytes(const ops::Matmul& args, const Tiling& tiling) {
    const std::int64_t sums = sums_in_c(args) ? 0 : tiling.rows * tiling.columns;
    const std::int64_t floats = a_floats(args, tiling) + b_floats(args, tiling) + sums;
    return padded_bytes(static_cast<std::size_t>(floats) * sizeof(float));
  }
  static bool sums_in_c(const ops::Matmul& args) {
    return args.accumulate || args.dtype == DType::kFloat32;
  }

 private:
  static constexpr std::int64_t kLine = kTensorAlignment / sizeof(float);

  static std::int64_t a_floats(const ops::Matmul& args, const Tiling& tiling) {
    if (args.dtype == DType::kFloat32 && !args.transpose_a) return 0;
    return round_up(packed_a_floats(depth_of_part(args.K), std::min(tiling.rows, kMaxPackedRows)),
                    kLine);
  }
  static std::int64_t b_floats(const ops::Matmul& args, const Tiling& tiling) {
    return round_up(packed_b_floats(depth_of_part(args.K), tiling.columns), kLine);
  }
};

/// What becomes of the sums of a part of a tile: they are added to what c holds, or they are new,
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

/// Up to kRegisterRows rows times one sliver.
void multiply_panel(const RegisterOperands& operands,
                    std::int64_t rows,
                    std::int64_t columns,
                    const Destination& to) {
  with_row_count(rows, [&](auto num_rows) {
    if (columns == kRegisterColumns) {
      // The rows of c are far apart: they arrive while the sums are made.
      for (std::int64_t i = 0; i < num_rows.value; ++i) {
        __builtin_prefetch(to.c + i * to.stride, /*rw=*/1);
        __builtin_prefetch(to.c + i * to.stride + kRegisterColumns - 1, /*rw=*/1);
      }
      multiply_registers<num_rows.value, kRegisterVectors>(
          operands, [&](std::int64_t i, std::int64_t j, FloatVector sum) {
            to.store(i, j * kVectorLanes, sum);
          });
      return;
    }
    alignas(64) float sums[kRegisterRows * kRegisterColumns];
    multiply_registers<num_rows.value, kRegisterVectors>(
        operands, [&](std::int64_t i, std::int64_t j, FloatVector sum) {
          store_vector(sums + i * kRegisterColumns + j * kVectorLanes, sum);
        });
    to.store_columns(sums, num_rows.value, columns);
  });
}

/// `depth` terms of the sums of `rows` rows and `columns` columns. Slivers of b change in the outer
/// loop: one stays in L1 while all rows pass.
void multiply_packed(const Panels& a,
                     const float* packed_b,
                     std::int64_t depth,
                     std::int64_t rows,
                     std::int64_t columns,
                     const Destination& to) {
  for (std::int64_t j = 0; j < columns; j += kRegisterColumns) {
    const std::int64_t num_columns = std::min(kRegisterColumns, columns - j);
    const float* panel = a.base;
    for (std::int64_t i = 0; i < rows; i += kRegisterRows, panel += a.panel_stride) {
      const RegisterOperands operands{
          panel, a.row_stride, a.k_stride, packed_b + j * depth, kRegisterColumns, depth};
      multiply_panel(operands, std::min(kRegisterRows, rows - i), num_columns, to.at(i, j));
    }
  }
}

/// Where the sums of the first terms go.
Destination first_destination(const ops::Matmul& args, const Tile& tile, float* sums) {
  const std::int64_t offset = tile.row * args.N + tile.column;
  if (!BlockedScratch::sums_in_c(args)) {
    return {sums, tile.columns, /*adds_to_c=*/false, nullptr, nullptr, 0};
  }
  const auto* const bias = static_cast<const float*>(args.bias_or_null);
  const auto* const residual = static_cast<const float*>(args.residual_or_null);
  return {static_cast<float*>(args.c) + offset,
          args.N,
          args.accumulate,
          bias == nullptr ? nullptr : bias + tile.column,
          residual == nullptr ? nullptr : residual + offset,
          args.N};
}

template <typename T>
void multiply_tile(const ops::Matmul& args, const Tile& tile, const BlockedScratch& s) {
  const auto* const a = static_cast<const T*>(args.a);
  const auto* const b = static_cast<const T*>(args.b);
  Destination to = first_destination(args, tile, s.sums);
  const std::int64_t part = depth_of_part(args.K);
  std::int64_t k = 0;
  do {  // once at least: an empty sum is 0
    const std::int64_t depth = std::min(part, args.K - k);
    pack_b(b + b_offset(args, k, tile.column), b_stride(args), args.transpose_b, depth,
           tile.columns, s.b);
    for (std::int64_t i = 0; i < tile.rows; i += kMaxPackedRows) {
      const std::int64_t rows = std::min(kMaxPackedRows, tile.rows - i);
      const Panels panels = pack_a(a + a_offset(args, tile.row + i, k), a_stride(args),
                                   args.transpose_a, depth, rows, s.a);
      multiply_packed(panels, s.b, depth, rows, tile.columns, to.at(i, 0));
    }
    to.adds_to_c = true;
    to.bias_or_null = nullptr;
    to.residual_or_null = nullptr;
    k += depth;
  } while (k < args.K);
  if (!BlockedScratch::sums_in_c(args)) store_tile(args, tile, s.sums);
}

}  // namespace

void matmul_blocked(const ops::Matmul& args, ThreadPool& pool) {
  const Tiling tiling = balanced_tiling(args.M, args.N, pool.num_threads());
  const std::size_t thread_bytes = BlockedScratch::bytes(args, tiling);
  pool.parallel_for(tiling.num_tiles(), [&](std::int64_t index) {
    const auto thread = static_cast<std::size_t>(ThreadPool::thread_index());
    auto* const base =
        reinterpret_cast<float*>(static_cast<std::byte*>(args.scratch) + thread * thread_bytes);
    const BlockedScratch scratch(base, args, tiling);
    const Tile tile = tile_at(tiling, index, args.M, args.N);
    if (args.dtype == DType::kBFloat16) {
      multiply_tile<BFloat16>(args, tile, scratch);
    } else {
      multiply_tile<float>(args, tile, scratch);
    }
  });
}

std::size_t matmul_blocked_scratch_bytes(const ops::Matmul& args, const ThreadPool& pool) {
  if (args.M == 0 || args.N == 0) return 0;
  const Tiling tiling = balanced_tiling(args.M, args.N, pool.num_threads());
  return BlockedScratch::bytes(args, tiling) * static_cast<std::size_t>(pool.num_threads());
}

}  // namespace halfpipe::cpu
