// SPDX-License-Identifier: Apache-2.0
// Why not the library's own threads: oneDNN 2.6 cuts the sum over K between threads for some
// shapes, so that weight gradients change bits with the number of threads. What tiles cost, on one
// core of an Intel Xeon of family 6, model 207 (AVX-512), GFLOP/s of whole products and of tiles
// (tools/bench/cpu_products_bench): 170 and 170 for 2048 x 384 x 384, 160 and 158 for 2048 x 1152 x
// 384, 167 and 155 for the 384 x 384 weight gradient over 2048 rows. OpenBLAS 0.3.21 takes this CPU
// for one without AVX: 32.
#include "kernels/cpu/matmul_library.h"

#include <dnnl.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/matmul_tiles.h"

// OpenMP's own, of the runtime that oneDNN uses: GCC's omp.h is not for other compilers.
extern "C" void omp_set_num_threads(int num_threads);

namespace halfpipe::cpu {
namespace {

/// Writes what the product is added to; returns whether there is anything (else c is not read).
/// Before the product rather than after it: the tile is then written once here and read by sgemm,
/// and a residual that is c itself costs nothing.
bool start_tile(const ops::Matmul& args, const Tile& tile) {
  auto* const c = static_cast<float*>(args.c);
  const auto* const bias = static_cast<const float*>(args.bias_or_null);
  const auto* const residual = static_cast<const float*>(args.residual_or_null);
  if (args.accumulate) return true;
  if (bias == nullptr && residual == nullptr && args.K > 0) return false;
  if (bias == nullptr && residual == c) return true;
  for (std::int64_t i = tile.row; i < tile.row + tile.rows; ++i) {
    float* const c_row = c + i * args.N + tile.column;
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

dnnl_status_t multiply_tile(const ops::Matmul& args, const Tile& tile) {
  const bool adds_to_c = start_tile(args, tile);
  if (args.K == 0) return dnnl_success;
  omp_set_num_threads(1);  // of this thread alone; oneDNN asks OpenMP how many to use
  const float* const a = static_cast<const float*>(args.a) + a_offset(args, tile.row, 0);
  const float* const b = static_cast<const float*>(args.b) + b_offset(args, 0, tile.column);
  float* const c = static_cast<float*>(args.c) + tile.row * args.N + tile.column;
  return dnnl_sgemm(args.transpose_a ? 'T' : 'N', args.transpose_b ? 'T' : 'N', tile.rows,
                    tile.columns, args.K, /*alpha=*/1.0F, a, a_stride(args), b, b_stride(args),
                    /*beta=*/adds_to_c ? 1.0F : 0.0F, c, args.N);
}

}  // namespace

void matmul_library(const ops::Matmul& args, ThreadPool& pool) {
  const Tiling tiling = choose_tiling(args.M, args.N, args.K);
  for_each_tile(args, tiling, pool, [&](const Tile& tile) { return multiply_tile(args, tile); });
}

}  // namespace halfpipe::cpu
