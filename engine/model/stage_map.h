// SPDX-License-Identifier: Apache-2.0
// Which layers each stage of the pipeline has.
#pragma once

#include <vector>

#include "engine/model/transformer_config.h"

namespace halfpipe::model {

/// A contiguous run of layers; any number of blocks, zero included.
struct StageLayers {
  int stage;
  int first_block;
  int num_blocks;
  bool has_embedding;  // the first stage
  bool has_head;       // the last stage

  friend bool operator==(const StageLayers&, const StageLayers&) = default;
};

/// Blocks dealt out to stages in order. blocks_per_stage sums to num_layers.
[[nodiscard]] std::vector<StageLayers> make_stage_map(const TransformerConfig& config,
                                                      const std::vector<int>& blocks_per_stage);

}  // namespace halfpipe::model
