// SPDX-License-Identifier: Apache-2.0
// Token plus learned position embedding (GPT-2).
#pragma once

#include <cstdint>

#include "kernels/core/dtype.h"

namespace halfpipe::ops {

/// out[b, t] = token_table[tokens[b, t]] + position_table[first_position + t]. Overwrites out.
struct EmbeddingForward {
  void* out;                   // [B, T, C] dtype
  const std::int32_t* tokens;  // [B, T], each in 0 .. V-1
  const void* token_table;     // [V, C] dtype
  const void* position_table;  // [T_max, C] dtype
  std::int64_t B;
  std::int64_t T;
  std::int64_t C;
  std::int64_t first_position;  // 0 in training; the cache length in generation
  DType dtype = DType::kFloat32;
};

/// dtoken_table[tokens[b, t]] += dout[b, t];  dposition_table[t] += sum_b dout[b, t]. Accumulates
/// into both, rows of dout added in the order of (b, t): deterministic whatever the number of
/// threads.
struct EmbeddingBackwardWeight {
  float* dtoken_table;         // [V, C]
  float* dposition_table;      // [T_max, C]
  const void* dout;            // [B, T, C] dtype
  const std::int32_t* tokens;  // [B, T]
  std::int64_t B;
  std::int64_t T;
  std::int64_t C;
  DType dtype = DType::kFloat32;
};

}  // namespace halfpipe::ops
