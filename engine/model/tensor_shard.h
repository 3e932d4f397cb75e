// SPDX-License-Identifier: Apache-2.0
// Which part of each layer a rank computes: tensor parallelism (Shoeybi et al. 2019,
// arXiv:1909.08053) with sequence parallelism (Korthikanti et al. 2022, arXiv:2205.05198).
//
// The two linear maps of attention and of the MLP are cut so that nothing is exchanged between
// them: the first one by columns, attention's into whole heads, the second one by rows. Around them
// each rank has the activations [N / ranks, C] of its own tokens only: the whole are gathered
// before the first map, and the sums of the second are scattered. The vocabulary is cut by rows of
// its tables.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/core/tensor.h"
#include "kernels/core/tensor_slice.h"

namespace halfpipe::model {

struct TensorShard {
  int ranks = 1;
  int rank = 0;
  /// backward_weight gathers its operands again; otherwise they are kept gathered.
  bool gathers_again = true;

  [[nodiscard]] bool is_shared() const { return ranks > 1; }
};

/// How tensor ranks share a parameter.
enum class Sharing : std::uint8_t {
  kWhole,           // each holds all of it, and computes the same gradient
  kWholeBySums,     // each holds all of it, and computes the gradient of its own tokens
  kRows,            // of a matrix [rows, columns]
  kColumns,         // of a matrix, or of a vector
  kColumnsOfThree,  // of each third of the columns: query, key and value
};

[[nodiscard]] inline bool is_cut(Sharing sharing) {
  return sharing != Sharing::kWhole && sharing != Sharing::kWholeBySums;
}

/// Rows of a table of the vocabulary that each rank holds, the last ones with padding: multiples of
/// 8, so that products keep 16-byte accesses.
[[nodiscard]] inline std::int64_t vocabulary_rows(std::int64_t vocab_size,
                                                  const TensorShard& shard) {
  if (!shard.is_shared()) return vocab_size;
  constexpr std::int64_t kRowsTogether = 8;
  return ceil_div(ceil_div<std::int64_t>(vocab_size, shard.ranks), kRowsTogether) * kRowsTogether;
}

/// What a rank holds of a parameter. `rows_of_rank`: of kRows, where the last ranks may hold
/// padding; 0: the rows divide evenly.
[[nodiscard]] TensorSlice slice_of(const Shape& shape,
                                   Sharing sharing,
                                   const TensorShard& shard,
                                   std::int64_t rows_of_rank = 0);

}  // namespace halfpipe::model
