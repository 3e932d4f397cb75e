// SPDX-License-Identifier: Apache-2.0
// The parameters of a model of one block, for tests of what is done with their gradients.
#pragma once

#include <vector>

#include "engine/model/parameter.h"

namespace halfpipe::runtime {

/// All of them, with one head and 4 positions; memory is yet to be allocated.
inline model::ParameterSet one_block_parameters(int hidden_size, int vocab_size) {
  model::TransformerConfig config;
  config.num_layers = 1;
  config.num_heads = 1;
  config.hidden_size = hidden_size;
  config.seq_len = 4;
  config.vocab_size = vocab_size;
  model::ParameterSet parameters;
  const std::vector<model::ParameterSpec> specs = model::all_parameters(config);
  for (const model::ParameterSpec& spec : specs) {
    static_cast<void>(parameters.add(specs, spec.name));
  }
  return parameters;
}

}  // namespace halfpipe::runtime
