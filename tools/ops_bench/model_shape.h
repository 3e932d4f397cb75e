// SPDX-License-Identifier: Apache-2.0
// The numbers of a transformer that decide how large its operations are.
#pragma once

#include <cstdint>

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

  [[nodiscard]] std::int64_t N() const { return B * T; }
  [[nodiscard]] std::int64_t HS() const { return C / NH; }
};

}  // namespace halfpipe::ops_bench
