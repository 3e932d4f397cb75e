// SPDX-License-Identifier: Apache-2.0
// How the blocks of attention_backward_tensor_core.cu divide their work, shared memory and scratch.
#pragma once

#include <cstdint>

#include "kernels/cuda/swizzled_tile.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace halfpipe::cuda::attention_backward {

inline constexpr int kKeys = 128;  // of a block
inline constexpr int kWarps = 8;
inline constexpr int kThreads = kWarps * kWarpSize;
inline constexpr int kKeyWarps = kWarps / 2;
inline constexpr int kM = kKeys / kKeyWarps / 16;  // matrices of 16 keys of a warp

/// How the work on one tile of queries is laid out.
template <int kHeadSize>
struct Layout {
  // Registers: a warp's sums of 32 keys and its scores are 4 * (kHeadSize + kQueries) / 4 floats.
  static constexpr int kQueries = kHeadSize == 64 ? 128 : 64;
  static constexpr int kScoreN = kQueries / 8;
  static constexpr int kHeadN = kHeadSize / 8;

  // dq of the tile, [kQueries, kHeadSize], is cut into kWarps pieces of 16 kDqM x 8 kDqN.
  static constexpr int kDqWarpsAcross = kHeadSize == 128 ? 4 : 2;
  static constexpr int kDqM = kQueries * kDqWarpsAcross / kWarps / 16;
  static constexpr int kDqN = kHeadSize / kDqWarpsAcross / 8;

  using HeadTile = SwizzledTile<kHeadSize>;
  using ScoreTile = SwizzledTile<kQueries>;
  static constexpr int kKeyOffset = 0;  // in shared memory, in bytes
  static constexpr int kValueOffset = kKeyOffset + HeadTile::bytes(kKeys);
  static constexpr int kQueryOffset = kValueOffset + HeadTile::bytes(kKeys);        // two tiles
  static constexpr int kDoutOffset = kQueryOffset + HeadTile::bytes(2 * kQueries);  // two tiles
  static constexpr int kDsOffset = kDoutOffset + HeadTile::bytes(2 * kQueries);
  static constexpr int kProbabilityOffset = kDsOffset + ScoreTile::bytes(kKeys);
  static constexpr int kRowOffset =
      kProbabilityOffset + ScoreTile::bytes(kKeys);  // two, [2, kQueries]
  static constexpr int kRowBytes = 2 * kQueries * static_cast<int>(sizeof(float));
  static constexpr int kTicketOffset = kRowOffset + 2 * kRowBytes;
  static constexpr int kSharedBytes = kTicketOffset + 16;
};

/// What the kernels hand each other, in args.scratch.
struct Scratch {
  float* dq;             // [heads, query tiles, kDqM * kDqN, kThreads, 4]
  float* rows;           // [heads, query tiles, 2, kQueries]: lse log2(e), then delta
  std::uint32_t* turns;  // [heads, query tiles]: blocks that have added to dq
  std::uint32_t* ticket;
};

}  // namespace halfpipe::cuda::attention_backward
