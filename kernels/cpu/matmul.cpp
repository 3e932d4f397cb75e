// SPDX-License-Identifier: Apache-2.0
// Tiles of the output, each one single-threaded call of oneDNN's sgemm.
//
// Why not the library's own threads: oneDNN 2.6 cuts the sum over K between threads for some
// shapes, so that weight gradients change bits with the number of threads. What tiles cost, on one
// core of an Intel Xeon of family 6, model 207 (AVX-512), GFLOP/s of whole products and of tiles
// (tools/bench/cpu_products_bench): 170 and 170 for 2048 x 384 x 384, 160 and 158 for 2048 x 1152 x
// 384, 167 and 155 for the 384 x 384 weight gradient over 2048 rows. OpenBLAS 0.3.21 takes this CPU
// for one without AVX: 32.
#include "kernels/cpu/matmul.h"

#include <dnnl.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "kernels/core/signal_block.h"

// OpenMP's own, of the runtime that oneDNN uses: GCC's omp.h is not for other compilers.
extern "C" void omp_set_num_threads(int num_threads);

namespace halfpipe::cpu {
namespace {

// A tile of b of 384 columns and K = 384 (576 KiB) stays in a core's L2 while the rows pass.
constexpr std::int64_t kMaxTileRows = 512;
constexpr std::int64_t kMaxTileColumns = 384;
// Enough tiles to keep a few threads evenly busy, as long as one takes some 80 us: below that,
// oneDNN's packing of the operands cost 15 % (768 x 128 x 384).
constexpr std::int64_t kWantedTiles = 8;
constexpr std::int64_t kMinTileSide = 96;
constexpr std::int64_t kMinTileMultiplyAdds = std::int64_t{6} << 20;
// Tiles start at whole cache lines of c when its rows do.
constexpr std::int64_t kTileGranularity = kTensorAlignment / sizeof(float);

struct Tiling {
  std::int64_t rows;     // of a tile
  std::int64_t columns;  // of a tile
  std::int64_t num_row_tiles;
  std::int64_t num_column_tiles;
  [[nodiscard]] std::int64_t num_tiles() const { return num_row_tiles * num_column_tiles; }
};

/// `parts` nearly equal parts of `size`.
std::int64_t part_size(std::int64_t size, std::int64_t parts) {
  return std::min(size, round_up(ceil_div(size, parts), kTileGranularity));
}

/// Depends on M, N, K only: see the contract.
Tiling choose_tiling(std::int64_t M, std::int64_t N, std::int64_t K) {
  std::int64_t rows = part_size(M, ceil_div(M, kMaxTileRows));
  std::int64_t columns = part_size(N, ceil_div(N, kMaxTileColumns));
  while (ceil_div(M, rows) * ceil_div(N, columns) < kWantedTiles) {
    std::int64_t& longer = rows >= columns ? rows : columns;
    if (longer < 2 * kMinTileSide || rows * columns / 2 * K < kMinTileMultiplyAdds) break;
    longer = part_size(longer, 2);
  }
  return {rows, columns, ceil_div(M, rows), ceil_div(N, columns)};
}

struct Tile {
  std::int64_t row;
  std::int64_t column;
  std::int64_t rows;
  std::int64_t columns;
};

/// Row tiles vary fastest: the tile of b is the larger operand of a call and stays in cache.
Tile tile_at(const Tiling& tiling, std::int64_t index, std::int64_t M, std::int64_t N) {
  const std::int64_t row = index % tiling.num_row_tiles * tiling.rows;
  const std::int64_t column = index / tiling.num_row_tiles * tiling.columns;
  return {row, column, std::min(tiling.rows, M - row), std::min(tiling.columns, N - column)};
}

/// Writes what the product is added to; returns whether there is anything (else c is not read).
/// Before the product rather than after it: the tile is then written once here and read by sgemm,
/// and a residual that is c itself costs nothing.
bool start_tile(const ops::Matmul& args, const Tile& tile) {
  const float* const bias = args.bias_or_null;
  const float* const residual = args.residual_or_null;
  if (args.accumulate) return true;
  if (bias == nullptr && residual == nullptr && args.K > 0) return false;
  if (bias == nullptr && residual == args.c) return true;
  for (std::int64_t i = tile.row; i < tile.row + tile.rows; ++i) {
    float* const c_row = args.c + i * args.N + tile.column;
    const float* const bias_row = bias == nullptr ? nullptr : bias + tile.column;
    const float* const residual_row =
        residual == nullptr ? nullptr : residual + i * args.N + tile.column;
    if (bias_row != nullptr && residual_row != nullptr) {
      for (std::int64_t j = 0; j < tile.columns; ++j) c_row[j] = bias_row[j] + residual_row[j];
    } else if (bias_row != nullptr) {
      std::copy_n(bias_row, tile.columns, c_row);
    } else if (residual_row != nullptr) {
      std::copy_n(residual_row, tile.columns, c_row);
    } else {
      std::fill_n(c_row, tile.columns, 0.0F);
    }
  }
  return true;
}

dnnl_status_t run_tile(const ops::Matmul& args, const Tile& tile) {
  const bool adds_to_c = start_tile(args, tile);
  if (args.K == 0) return dnnl_success;
  omp_set_num_threads(1);  // of this thread alone; oneDNN asks OpenMP how many to use
  const std::int64_t a_stride = args.transpose_a ? args.M : args.K;
  const std::int64_t b_stride = args.transpose_b ? args.K : args.N;
  return dnnl_sgemm(
      args.transpose_a ? 'T' : 'N', args.transpose_b ? 'T' : 'N', tile.rows, tile.columns, args.K,
      /*alpha=*/1.0F, args.a + tile.row * (args.transpose_a ? 1 : a_stride), a_stride,
      args.b + tile.column * (args.transpose_b ? b_stride : 1), b_stride,
      /*beta=*/adds_to_c ? 1.0F : 0.0F, args.c + tile.row * args.N + tile.column, args.N);
}

}  // namespace

void matmul(const ops::Matmul& args, ThreadPool& pool) {
  if (args.M == 0 || args.N == 0) return;
  HALFPIPE_CHECK(
      !args.accumulate || (args.bias_or_null == nullptr && args.residual_or_null == nullptr),
      "a product that accumulates takes no bias and no residual");
  const Tiling tiling = choose_tiling(args.M, args.N, args.K);
  // The AVX-512 sgemm of oneDNN 2.6.3 keeps live values far below its stack pointer when K >= 96
  // (seen by experiment): a handler that runs on that stack overwrites them, and products then
  // write anywhere. The pool's own threads take no signals at all.
  const SignalBlock block;
  std::atomic<int> failure{dnnl_success};
  pool.parallel_for(tiling.num_tiles(), [&](std::int64_t index) {
    const dnnl_status_t status = run_tile(args, tile_at(tiling, index, args.M, args.N));
    if (status != dnnl_success) failure.store(status, std::memory_order_relaxed);
  });
  const int status = failure.load(std::memory_order_relaxed);
  if (status == dnnl_out_of_memory) throw RuntimeFailure("out of memory in a matrix product");
  HALFPIPE_CHECK(status == dnnl_success, "oneDNN refused a matrix product");
}

// dnnl_sgemm takes a packing buffer of 72 KiB to 1.2 MiB for each tile and gives it back; nothing
// of it can be provided by the caller. Its matmul primitives do not help: with a scratchpad of the
// caller's an execution still made 5 to 8 heap calls, and ran at 0.93 to 0.98 of the speed.
std::size_t matmul_scratch_bytes(const ops::Matmul& /*args*/, const ThreadPool& /*pool*/) {
  return 0;
}

}  // namespace halfpipe::cpu
