// SPDX-License-Identifier: Apache-2.0
// One launch for many arrays. A kernel is given a table of them by value, and each of its blocks
// finds the array that it works on: nothing is placed in device memory, and nothing has to be there
// before the launch. A table holds some fifty arrays, so that a model's 580 take a dozen launches.
// Idea from PyTorch's multi_tensor_apply.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace halfpipe::cuda {

/// What the parameters of a kernel may take on every GPU and with every driver.
inline constexpr std::size_t kParameterBytes = 4096;

/// Pieces that lie one behind another in a grid of blocks. kMost: of pieces. A kernel takes it as
/// const __grid_constant__ and reads a piece where it lies: pointers then take no registers.
template <typename Piece, int kMost>
struct PieceTable {
  Piece pieces[kMost];
  unsigned first_block[kMost];
  int num_pieces = 0;
  unsigned num_blocks = 0;

  [[nodiscard]] bool is_full() const { return num_pieces == kMost; }
  /// Takes at least one block.
  void add(const Piece& piece, std::int64_t blocks) {
    pieces[num_pieces] = piece;
    first_block[num_pieces] = num_blocks;
    ++num_pieces;
    num_blocks += static_cast<unsigned>(blocks);
  }
  void clear() {
    num_pieces = 0;
    num_blocks = 0;
  }
};

/// The index of the piece that a block of the grid belongs to, by halving.
template <typename Piece, int kMost>
__device__ __forceinline__ int piece_of_block(const PieceTable<Piece, kMost>& table,
                                              unsigned block) {
  int found = 0;
#pragma unroll
  for (auto step = static_cast<int>(std::bit_floor(unsigned{kMost})); step > 0; step /= 2) {
    const int next = found + step;
    if (next < table.num_pieces && table.first_block[next] <= block) found = next;
  }
  return found;
}

}  // namespace halfpipe::cuda
