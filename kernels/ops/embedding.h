// SPDX-License-Identifier: Apache-2.0
// Token plus learned position embedding (GPT-2), of the whole vocabulary or, where tensor ranks
// share the table, of some of its ids.
#pragma once

#include <cstdint>
#include <limits>

#include "kernels/core/dtype.h"

namespace halfpipe::ops {

/// The ids whose rows a table has: begin .. end - 1, id `begin` first.
struct TokenIds {
  std::int64_t begin = 0;
  std::int64_t end = std::numeric_limits<std::int32_t>::max();
};

/// out[b, t] = token_table[tokens[b, t] - ids.begin] + position_table[first_position + t], without
/// the first term for a token that is not one of ids, and without the second where the position
/// table is null. Overwrites out.
struct EmbeddingForward {
  void* out;                   // [B, T, C] dtype
  const std::int32_t* tokens;  // [B, T], each in 0 .. V-1
  const void* token_table;     // [ids of the table, C] dtype
  const void* position_table;  // [T_max, C] dtype, or null
  std::int64_t B;
  std::int64_t T;
  std::int64_t C;
  std::int64_t first_position;  // 0 in training; the cache length in generation
  DType dtype = DType::kFloat32;
  TokenIds ids = {};
};

/// dtoken_table[tokens[b, t] - ids.begin] += dout[b, t] for tokens that are one of ids;
/// dposition_table[t] += sum_b dout[b, t]. Accumulates into both, rows of dout added in the order
/// of (b, t): deterministic whatever the number of threads.
struct EmbeddingBackwardWeight {
  float* dtoken_table;         // [ids of the table, C]
  float* dposition_table;      // [T_max, C]
  const void* dout;            // [B, T, C] dtype
  const std::int32_t* tokens;  // [B, T]
  std::int64_t B;
  std::int64_t T;
  std::int64_t C;
  DType dtype = DType::kFloat32;
  TokenIds ids = {};
};

}  // namespace halfpipe::ops
