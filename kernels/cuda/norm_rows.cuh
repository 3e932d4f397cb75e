// SPDX-License-Identifier: Apache-2.0
// Who works on the rows of LayerNorm. A row belongs to as many warps as hold it in registers, 1 to
// 16; rows that are longer, or not made of whole 16-byte accesses, to a block that reads them again
// from the first- or second-level cache.
#pragma once

namespace halfpipe::cuda {

inline constexpr int kMostWarpsPerRow = 16;
inline constexpr int kLongRowThreads = 256;

/// Rows of few warps share a block: an SM takes at most 32 blocks.
template <int kWarpsPerRow>
inline constexpr int kRowsPerBlock = kWarpsPerRow < 4 ? 4 / kWarpsPerRow : 1;

}  // namespace halfpipe::cuda
