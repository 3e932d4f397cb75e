// SPDX-License-Identifier: Apache-2.0
// The numbers of a transformer that decide how large its operations are.
#pragma once

#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/core/dtype.h"

namespace halfpipe::ops_bench {

/// One micro-batch of a GPT-2 model.
struct ModelShape {
  std::int64_t B;                        // sequences in the micro-batch
  std::int64_t T;                        // tokens in each
  std::int64_t C;                        // hidden size
  std::int64_t NH;                       // heads
  std::int64_t F;                        // MLP width
  std::int64_t V;                        // vocabulary
  std::int64_t num_parameters;           // of the whole model
  bool bias;                             // of linear layers and norms
  bool tied;                             // the head is the token embedding
  DType dtype = DType::kFloat32;         // of activations and weights
  DType moment_dtype = DType::kFloat32;  // of AdamW
  bool fused_gelu = false;               // GELU within the product before it
  bool fused_bias_gradient = false;      // that of c_fc's bias within GELU's
  // Of operations that only tensor ranks run; all others are those of a rank that shares nothing.
  std::int64_t num_tensor_ranks;
  std::int64_t slice_rows;  // of the vocabulary, that each of them holds; with padding

  [[nodiscard]] std::int64_t N() const { return B * T; }
  [[nodiscard]] std::int64_t HS() const { return C / NH; }
  /// Tokens of a tensor rank between the products that ranks share.
  [[nodiscard]] std::int64_t rows() const { return ceil_div(N(), num_tensor_ranks); }
};

}  // namespace halfpipe::ops_bench
