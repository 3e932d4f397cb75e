// SPDX-License-Identifier: Apache-2.0
// Operands are read where they lie. A product that accumulates goes into c; any other one goes into
// a float32 tile of the thread's scratch, from which it is rounded into c.
#include "kernels/cpu/matmul_primitive.h"

#include <algorithm>
#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/cpu/matmul_tiles.h"
#include "kernels/cpu/product_primitive.h"

namespace halfpipe::cpu {
namespace {

// Reckoned, not measured: AMX multiplies some six times as fast as AVX-512 does float32, and the
// operands are packed no faster.
constexpr SmallestTile kSmallestTile{.side = 192, .multiply_adds = std::int64_t{32} << 20};

Tiling tiling_of(const ops::Matmul& args) {
  return choose_tiling(args.M, args.N, args.K, kSmallestTile);
}

/// One thread's scratch.
struct ScratchLayout {
  std::size_t sums_bytes;     // the float32 tile
  std::size_t library_bytes;  // behind it, what oneDNN asks for
  [[nodiscard]] std::size_t bytes() const { return sums_bytes + library_bytes; }
};

TileProduct product_of(const ops::Matmul& args, std::int64_t rows, std::int64_t columns) {
  return {.M = rows,
          .N = columns,
          .K = args.K,
          .a_stride = a_stride(args),
          .b_stride = b_stride(args),
          .c_stride = args.accumulate ? args.N : columns,
          .transpose_a = args.transpose_a,
          .transpose_b = args.transpose_b,
          .accumulate = args.accumulate,
          .dtype = args.dtype};
}

ScratchLayout layout_of(const ops::Matmul& args, const Tiling& tiling) {
  std::size_t library_bytes = 0;
  const std::int64_t last_rows = args.M - (tiling.num_row_tiles - 1) * tiling.rows;
  const std::int64_t last_columns = args.N - (tiling.num_column_tiles - 1) * tiling.columns;
  for (const std::int64_t rows : {tiling.rows, last_rows}) {
    for (const std::int64_t columns : {tiling.columns, last_columns}) {
      if (args.K == 0) continue;
      library_bytes =
          std::max(library_bytes, product_scratch_bytes(product_of(args, rows, columns)));
    }
  }
  const auto sums = args.accumulate ? 0 : static_cast<std::size_t>(tiling.rows * tiling.columns);
  return {padded_bytes(sums * sizeof(float)), padded_bytes(library_bytes)};
}

int multiply_tile(const ops::Matmul& args, const Tile& tile, std::byte* sums, std::byte* library) {
  auto* const c = args.accumulate ? static_cast<float*>(args.c) + tile.row * args.N + tile.column
                                  : reinterpret_cast<float*>(sums);
  if (args.K > 0) {
    const auto element = static_cast<std::int64_t>(size_of(args.dtype));
    const int status = run_product(
        product_of(args, tile.rows, tile.columns),
        {.c = c,
         .a = static_cast<const std::byte*>(args.a) + a_offset(args, tile.row, 0) * element,
         .b = static_cast<const std::byte*>(args.b) + b_offset(args, 0, tile.column) * element,
         .scratch = library});
    if (status != 0) return status;
  } else if (!args.accumulate) {
    std::fill_n(c, tile.rows * tile.columns, 0.0F);
  }
  if (!args.accumulate) store_tile(args, tile, c);
  return 0;
}

}  // namespace

void matmul_primitive(const ops::Matmul& args, ThreadPool& pool) {
  const Tiling tiling = tiling_of(args);
  const ScratchLayout layout = layout_of(args, tiling);
  for_each_tile(args, tiling, pool, [&](const Tile& tile) {
    const auto thread = static_cast<std::size_t>(ThreadPool::thread_index());
    std::byte* const scratch = static_cast<std::byte*>(args.scratch) + thread * layout.bytes();
    return multiply_tile(args, tile, scratch, scratch + layout.sums_bytes);
  });
}

std::size_t matmul_primitive_scratch_bytes(const ops::Matmul& args, const ThreadPool& pool) {
  if (args.M == 0 || args.N == 0) return 0;
  const Tiling tiling = tiling_of(args);
  return layout_of(args, tiling).bytes() * static_cast<std::size_t>(pool.num_threads());
}

}  // namespace halfpipe::cpu
