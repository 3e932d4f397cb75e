// SPDX-License-Identifier: Apache-2.0
// The data of a training job, opened and held against the model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/checkpoint/trainer_state.h"
#include "engine/checkpoint/tuned_record.h"
#include "engine/config/run_config.h"
#include "engine/data/dataset.h"

namespace halfpipe::runtime {

/// What a rank has once its inputs are read and checked.
struct TrainingInputs {
  config::RunConfig config;
  std::optional<data::Dataset> dataset;
  checkpoint::DataRecord data_record;                // of dataset
  std::optional<std::filesystem::path> resume_from;  // a whole checkpoint
  std::vector<std::string> warnings;                 // for the log
  std::int64_t steps_done = 0;                       // by the run that is resumed
  std::optional<checkpoint::TunedRecord> tuned;      // device.tune: what the ranks agreed on
};

/// Opens config.data, fills in model.vocab_size where it is auto (0), and checks that both splits
/// are long enough for a sequence and that the model has an id for every token of them. Throws
/// ConfigError or FileError.
data::Dataset open_training_data(config::RunConfig& config);

}  // namespace halfpipe::runtime
