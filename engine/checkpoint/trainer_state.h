// SPDX-License-Identifier: Apache-2.0
// trainer.json: what a run needs besides tensors to go on exactly where it stopped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace halfpipe::checkpoint {

/// What the data were: enough to tell whether they are the same when a run goes on.
struct DataRecord {
  std::int64_t train_tokens = 0;
  std::int64_t validation_tokens = 0;  // 0: there is no such split
  std::string train_digest;            // of tokens, wherever they are stored
  std::string validation_digest;       // empty without the split

  friend bool operator==(const DataRecord&, const DataRecord&) = default;
};

struct TrainerState {
  std::int64_t step = 0;                // optimizer steps done
  std::int64_t tokens_seen = 0;         // trained on, all replicas
  std::int64_t sequences_consumed = 0;  // position in the sampler's order of the training data
  std::uint64_t seed =
      0;  // of initialisation and sampling; both are counter-based, so it is all their state
  std::string parameter_hash;           // parameter_hash() of the model beside it
  std::string config;                   // the resolved configuration, as YAML text
  std::optional<DataRecord> data = {};  // absent in checkpoints of the first version of the engine

  friend bool operator==(const TrainerState&, const TrainerState&) = default;
};

/// Writes `trainer.json` into a checkpoint.
void write_trainer_state(const std::filesystem::path& directory, const TrainerState& state);

/// FileError that names the file, the key and the rule.
[[nodiscard]] TrainerState read_trainer_state(const std::filesystem::path& directory);

}  // namespace halfpipe::checkpoint
