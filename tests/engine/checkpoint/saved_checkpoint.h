// SPDX-License-Identifier: Apache-2.0
// Saves small checkpoints the way the trainer does, for the tests of the store and of resuming.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/checkpoint/checkpoint_store.h"
#include "engine/checkpoint/model_directory.h"
#include "engine/checkpoint/trainer_state.h"
#include "tests/engine/checkpoint/written_files.h"

namespace halfpipe::checkpoint {

/// What every rank would write for `step`, in two shards. Large enough for several writes per file.
inline void write_contents(const std::filesystem::path& directory, std::int64_t step) {
  const std::vector<float> values(20'000, static_cast<float>(step));
  for (int shard = 0; shard < 2; ++shard) {
    const NamedTensor tensor{
        "transformer.h." + std::to_string(shard) + ".ln_1.weight", {20'000}, values.data()};
    write_model_shard(directory, shard, 2, {&tensor, 1});
  }
  model::TransformerConfig config;
  config.num_layers = 2;
  config.vocab_size = 256;
  write_model_index(directory, config, 2);
  TrainerState state;
  state.step = step;
  write_trainer_state(directory, state);
}

inline std::filesystem::path save(CheckpointStore& store, std::int64_t step) {
  write_contents(store.begin(step), step);
  return store.finish(step);
}

}  // namespace halfpipe::checkpoint
