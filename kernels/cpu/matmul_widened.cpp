// SPDX-License-Identifier: Apache-2.0
// A tile's operands are widened for the tile, a part of the sum at a time, and again for the next
// tile: each element then serves some hundred multiply-adds, and a thread needs at most 2.6 MB.
// Widened once per call, a weight of 384 x 50304 alone would take 77 MB. Median GFLOP/s of float32
// and of this on one core of an AMD EPYC of family 25, model 1 (AVX2), other work beside it: 67 and
// 63 for 2048 x 384 x 384, 65 and 58 for 2048 x 1152 x 384, 57 and 47 for the 384 x 1152 weight
// gradient over 2048 rows, 62 and 56 for 2048 x 50304 x 384.
#include "kernels/cpu/matmul_widened.h"

#include <dnnl.h>

#include <algorithm>
#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/core/bfloat16.h"
#include "kernels/cpu/matmul_tiles.h"
#include "kernels/cpu/widen.h"

// OpenMP's own, of the runtime that oneDNN uses: GCC's omp.h is not for other compilers.
extern "C" void omp_set_num_threads(int num_threads);

namespace halfpipe::cpu {
namespace {

// Terms of the sum that are widened together. 256 to 2048 made no difference beyond 5 %.
constexpr std::int64_t kMaxDepth = 512;

/// One thread's scratch: what a tile reads of a and b for a part of the sum, and its sums.
struct WidenedScratch {
  float* a;     // [rows, depth], or [depth, rows] when a is transposed
  float* b;     // [depth, columns], or [columns, depth] when b is transposed
  float* sums;  // [rows, columns]

  WidenedScratch(float* base, const Tiling& tiling, std::int64_t K)
      : a(base), b(a + a_floats(tiling, K)), sums(b + b_floats(tiling, K)) {}
  static std::size_t bytes(const Tiling& tiling, std::int64_t K, bool accumulate) {
    const std::int64_t sums = accumulate ? 0 : tiling.rows * tiling.columns;
    const std::int64_t floats = a_floats(tiling, K) + b_floats(tiling, K) + sums;
    return padded_bytes(static_cast<std::size_t>(floats) * sizeof(float));
  }

 private:
  static constexpr std::int64_t kLine = kTensorAlignment / sizeof(float);
  static std::int64_t a_floats(const Tiling& tiling, std::int64_t K) {
    return round_up(tiling.rows * std::min(K, kMaxDepth), kLine);
  }
  static std::int64_t b_floats(const Tiling& tiling, std::int64_t K) {
    return round_up(tiling.columns * std::min(K, kMaxDepth), kLine);
  }
};

void widen_a(
    const ops::Matmul& args, const Tile& tile, std::int64_t k, std::int64_t depth, float* a) {
  const auto* const src = static_cast<const BFloat16*>(args.a) + a_offset(args, tile.row, k);
  if (args.transpose_a) {
    widen_rows(a, src, a_stride(args), depth, tile.rows);
  } else {
    widen_rows(a, src, a_stride(args), tile.rows, depth);
  }
}

void widen_b(
    const ops::Matmul& args, const Tile& tile, std::int64_t k, std::int64_t depth, float* b) {
  const auto* const src = static_cast<const BFloat16*>(args.b) + b_offset(args, k, tile.column);
  if (args.transpose_b) {
    widen_rows(b, src, b_stride(args), tile.columns, depth);
  } else {
    widen_rows(b, src, b_stride(args), depth, tile.columns);
  }
}

dnnl_status_t multiply_tile(const ops::Matmul& args, const Tile& tile, const WidenedScratch& s) {
  omp_set_num_threads(1);  // of this thread alone; oneDNN asks OpenMP how many to use
  float* const c =
      args.accumulate ? static_cast<float*>(args.c) + tile.row * args.N + tile.column : s.sums;
  const std::int64_t c_stride = args.accumulate ? args.N : tile.columns;
  if (args.K == 0 && !args.accumulate) std::fill_n(c, tile.rows * tile.columns, 0.0F);
  for (std::int64_t k = 0; k < args.K; k += kMaxDepth) {
    const std::int64_t depth = std::min(kMaxDepth, args.K - k);
    widen_a(args, tile, k, depth, s.a);
    widen_b(args, tile, k, depth, s.b);
    const dnnl_status_t status = dnnl_sgemm(
        args.transpose_a ? 'T' : 'N', args.transpose_b ? 'T' : 'N', tile.rows, tile.columns, depth,
        /*alpha=*/1.0F, s.a, args.transpose_a ? tile.rows : depth, s.b,
        args.transpose_b ? depth : tile.columns, /*beta=*/args.accumulate || k > 0 ? 1.0F : 0.0F, c,
        c_stride);
    if (status != dnnl_success) return status;
  }
  if (!args.accumulate) store_tile(args, tile, c);
  return dnnl_success;
}

}  // namespace

void matmul_widened(const ops::Matmul& args, ThreadPool& pool) {
  const Tiling tiling = choose_tiling(args.M, args.N, args.K);
  const std::size_t thread_bytes = WidenedScratch::bytes(tiling, args.K, args.accumulate);
  for_each_tile(args, tiling, pool, [&](const Tile& tile) {
    const auto thread = static_cast<std::size_t>(ThreadPool::thread_index());
    auto* const base =
        reinterpret_cast<float*>(static_cast<std::byte*>(args.scratch) + thread * thread_bytes);
    return multiply_tile(args, tile, WidenedScratch(base, tiling, args.K));
  });
}

std::size_t matmul_widened_scratch_bytes(const ops::Matmul& args, const ThreadPool& pool) {
  if (args.M == 0 || args.N == 0) return 0;
  const Tiling tiling = choose_tiling(args.M, args.N, args.K);
  return WidenedScratch::bytes(tiling, args.K, args.accumulate) *
         static_cast<std::size_t>(pool.num_threads());
}

}  // namespace halfpipe::cpu
