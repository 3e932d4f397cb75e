// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/matmul_tiles.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace halfpipe::cpu {
namespace {

// 7 x 3 tiles of 10 x 5 or less, for any number of shares, more than there are rows of tiles, too.
TEST(TileOfShare, IsEachTileOnce) {
  constexpr std::int64_t kM = 64;
  constexpr std::int64_t kN = 13;
  constexpr Tiling kTiling{10, 5, 7, 3};
  for (const std::int64_t num_shares : {1, 2, 3, 7, 16}) {
    std::vector<int> covered(kM * kN, 0);
    for (std::int64_t index = 0; index < kTiling.num_tiles(); ++index) {
      const Tile tile = tile_of_share_at(kTiling, index, num_shares, kM, kN);
      for (std::int64_t row = tile.row; row < tile.row + tile.rows; ++row) {
        for (std::int64_t column = tile.column; column < tile.column + tile.columns; ++column) {
          ++covered.at(static_cast<std::size_t>(row * kN + column));
        }
      }
    }
    EXPECT_EQ(covered, std::vector<int>(kM * kN, 1)) << num_shares << " shares";
  }
}

// Whatever the columns, a share has the same rows, and the pool's share of the tasks is theirs.
TEST(TileOfShare, KeepsRowsInTheirShare) {
  for (const std::int64_t num_columns : {1, 4}) {
    const Tiling tiling{8, 8, 6, num_columns};
    const std::int64_t of_share = tiling.num_tiles() / 3;
    for (std::int64_t index = 0; index < tiling.num_tiles(); ++index) {
      const Tile tile = tile_of_share_at(tiling, index, 3, 48, 8 * num_columns);
      EXPECT_EQ(tile.row / 16, index / of_share) << "tile " << index;
    }
  }
}

}  // namespace
}  // namespace halfpipe::cpu
