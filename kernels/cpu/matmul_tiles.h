// SPDX-License-Identifier: Apache-2.0
// What the ways to multiply share: how the output is cut into tiles, where a tile's operands begin,
// and how its float32 sums become elements of c.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "kernels/core/signal_block.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/matmul.h"

namespace halfpipe::cpu {

struct Tile {
  std::int64_t row;
  std::int64_t column;
  std::int64_t rows;
  std::int64_t columns;
};

struct Tiling {
  std::int64_t rows;     // of a tile; fewer in the last one
  std::int64_t columns;  // of a tile; fewer in the last one
  std::int64_t num_row_tiles;
  std::int64_t num_column_tiles;
  [[nodiscard]] std::int64_t num_tiles() const { return num_row_tiles * num_column_tiles; }
};

/// How far tiles are cut to keep more threads busy: cutting makes packing of the operands cost
/// more.
struct SmallestTile {
  std::int64_t side;
  std::int64_t multiply_adds;
};
/// Some 80 us of AVX-512. Below that packing cost 15 % (768 x 128 x 384).
inline constexpr SmallestTile kSmallestSgemmTile{.side = 96,
                                                 .multiply_adds = std::int64_t{6} << 20};

/// Depends on M, N, K only: see the contract.
[[nodiscard]] Tiling choose_tiling(std::int64_t M,
                                   std::int64_t N,
                                   std::int64_t K,
                                   const SmallestTile& smallest = kSmallestSgemmTile);

/// Row tiles vary fastest: the tile of b is the larger operand of a call and stays in cache.
[[nodiscard]] inline Tile tile_at(const Tiling& tiling,
                                  std::int64_t index,
                                  std::int64_t M,
                                  std::int64_t N) {
  const std::int64_t row = index % tiling.num_row_tiles * tiling.rows;
  const std::int64_t column = index / tiling.num_row_tiles * tiling.columns;
  return {row, column, std::min(tiling.rows, M - row), std::min(tiling.columns, N - column)};
}

/// The same tiles, but groups of rows one after the other, one for each share of the pool's tasks:
/// a thread that had these rows before has them again. Within a group rows vary fastest.
[[nodiscard]] inline Tile tile_of_share_at(const Tiling& tiling,
                                           std::int64_t index,
                                           std::int64_t num_shares,
                                           std::int64_t M,
                                           std::int64_t N) {
  std::int64_t share = 0;
  const auto first_row = [&](std::int64_t of) { return tiling.num_row_tiles * of / num_shares; };
  while (index >= first_row(share + 1) * tiling.num_column_tiles) ++share;
  const std::int64_t rows = first_row(share + 1) - first_row(share);
  const std::int64_t in_share = index - first_row(share) * tiling.num_column_tiles;
  const std::int64_t row = (first_row(share) + in_share % rows) * tiling.rows;
  const std::int64_t column = in_share / rows * tiling.columns;
  return {row, column, std::min(tiling.rows, M - row), std::min(tiling.columns, N - column)};
}

/// Elements from row to row of a and b as they are stored.
[[nodiscard]] inline std::int64_t a_stride(const ops::Matmul& args) {
  return args.transpose_a ? args.M : args.K;
}
[[nodiscard]] inline std::int64_t b_stride(const ops::Matmul& args) {
  return args.transpose_b ? args.K : args.N;
}

/// Where element (m, k) of op(a) and element (k, n) of op(b) are stored.
[[nodiscard]] inline std::int64_t a_offset(const ops::Matmul& args,
                                           std::int64_t m,
                                           std::int64_t k) {
  return args.transpose_a ? k * args.M + m : m * args.K + k;
}
[[nodiscard]] inline std::int64_t b_offset(const ops::Matmul& args,
                                           std::int64_t k,
                                           std::int64_t n) {
  return args.transpose_b ? n * args.K + k : k * args.N + n;
}

/// c <- sums + bias + residual in a tile, rounded once. Overwrites sums.
void store_tile(const ops::Matmul& args, const Tile& tile, float* sums);  // [tile.rows, columns]

/// Throws what a dnnl_status_t means, unless it means success.
void check_product_status(int status);

/// Runs multiply(tile), which returns a dnnl_status_t, for every tile.
template <typename Multiply>
void for_each_tile(const ops::Matmul& args,
                   const Tiling& tiling,
                   ThreadPool& pool,
                   const Multiply& multiply) {
  // The AVX-512 sgemm of oneDNN 2.6.3 keeps live values far below its stack pointer when K >= 96
  // (seen by experiment): a handler that runs on that stack overwrites them, and products then
  // write anywhere. The pool's own threads take no signals at all.
  const SignalBlock block;
  std::atomic<int> failure{0};
  pool.parallel_for(tiling.num_tiles(), [&](std::int64_t index) {
    const int status =
        multiply(tile_of_share_at(tiling, index, pool.num_threads(), args.M, args.N));
    if (status != 0) failure.store(status, std::memory_order_relaxed);
  });
  check_product_status(failure.load(std::memory_order_relaxed));
}

}  // namespace halfpipe::cpu
