// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/matmul_tiles.h"

#include <dnnl.h>

#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {
namespace {

// A tile of b of 384 columns and K = 384 (576 KiB) stays in a core's L2 while the rows pass.
constexpr std::int64_t kMaxTileRows = 512;
constexpr std::int64_t kMaxTileColumns = 384;
// Enough to keep a few threads evenly busy.
constexpr std::int64_t kWantedTiles = 8;
// Tiles start at whole cache lines of c when its rows do.
constexpr std::int64_t kTileGranularity = kTensorAlignment / sizeof(float);

/// `parts` nearly equal parts of `size`.
std::int64_t part_size(std::int64_t size, std::int64_t parts) {
  return std::min(size, round_up(ceil_div(size, parts), kTileGranularity));
}

void add_row(float* sums, const float* addend, std::int64_t count) {
  for (std::int64_t j = 0; j < count; ++j) sums[j] += addend[j];
}
void add_row(float* sums, const BFloat16* addend, std::int64_t count) {
  for (std::int64_t j = 0; j < count; ++j) sums[j] += to_float(addend[j]);
}

template <typename T>
void store_tile_as(const ops::Matmul& args, const Tile& tile, float* sums) {
  const auto* const bias = static_cast<const T*>(args.bias_or_null);
  const auto* const residual = static_cast<const T*>(args.residual_or_null);
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    float* const row = sums + i * tile.columns;
    const std::int64_t offset = (tile.row + i) * args.N + tile.column;
    if (bias != nullptr) add_row(row, bias + tile.column, tile.columns);
    if (residual != nullptr) add_row(row, residual + offset, tile.columns);
    convert(row, tile.columns, static_cast<T*>(args.c) + offset);
  }
}

}  // namespace

Tiling choose_tiling(std::int64_t M, std::int64_t N, std::int64_t K, const SmallestTile& smallest) {
  std::int64_t rows = part_size(M, ceil_div(M, kMaxTileRows));
  std::int64_t columns = part_size(N, ceil_div(N, kMaxTileColumns));
  while (ceil_div(M, rows) * ceil_div(N, columns) < kWantedTiles) {
    std::int64_t& longer = rows >= columns ? rows : columns;
    if (longer < 2 * smallest.side || rows * columns / 2 * K < smallest.multiply_adds) break;
    longer = part_size(longer, 2);
  }
  return {rows, columns, ceil_div(M, rows), ceil_div(N, columns)};
}

void store_tile(const ops::Matmul& args, const Tile& tile, float* sums) {
  if (args.dtype == DType::kBFloat16) {
    store_tile_as<BFloat16>(args, tile, sums);
  } else {
    store_tile_as<float>(args, tile, sums);
  }
}

void check_product_status(int status) {
  if (status == dnnl_out_of_memory) throw RuntimeFailure("out of memory in a matrix product");
  HALFPIPE_CHECK(status == dnnl_success, "oneDNN refused a matrix product");
}

}  // namespace halfpipe::cpu
