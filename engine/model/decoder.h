// SPDX-License-Identifier: Apache-2.0
// Next-token prediction with a key-value cache: the whole model on one rank, one sequence.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/model/layer.h"
#include "kernels/device/buffer.h"

namespace halfpipe::model {

class Decoder {
 public:
  /// Takes memory for the parameters (undefined until loaded), the cache of seq_len positions, and
  /// scratch for extending by up to seq_len tokens at once.
  Decoder(const TransformerConfig& config, device::Backend& backend);

  [[nodiscard]] ParameterSet& parameters() { return parameters_; }
  /// Positions in the cache.
  [[nodiscard]] int length() const { return length_; }
  /// Forgets the sequence.
  void reset() { length_ = 0; }
  /// Appends 1 .. seq_len - length() tokens, each below vocab_size, and returns the logits [V] that
  /// follow the last one, on the host, valid until the next call.
  std::span<const float> extend(std::span<const std::int32_t> tokens);

 private:
  struct BlockParameters {
    Norm norm1, norm2;
    Linear qkv, proj, up, down;
  };

  /// Device logits [V] of the last of ctx.T new tokens; with a counting workspace only sizes are
  /// wanted.
  float* run(PassContext& ctx);
  void run_block(PassContext& ctx, std::size_t layer, float* x);
  /// Writes the new keys and values into the cache and lets every new position look at all up to
  /// itself.
  void attend(PassContext& ctx, std::size_t layer, float* out, const float* qkv);
  [[nodiscard]] float* cache(std::size_t layer, std::size_t which) const;
  [[nodiscard]] std::size_t scratch_bytes();

  TransformerConfig config_;
  device::Backend& backend_;
  std::unique_ptr<device::Stream> stream_;
  ParameterSet parameters_;
  int token_table_;
  int position_table_;
  std::vector<BlockParameters> blocks_;
  Norm final_norm_;
  int projection_;
  device::Buffer cache_;  // [L, 2, seq_len, C]
  device::Buffer scratch_;
  device::Buffer tokens_;  // [seq_len]
  std::vector<float> logits_;
  int length_ = 0;
};

}  // namespace halfpipe::model
