// SPDX-License-Identifier: Apache-2.0
// What make_fixtures.py computed with PyTorch in float64 for one model, read from its file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/checkpoint/safetensors.h"
#include "engine/config/run_config.h"
#include "engine/runtime/pipeline_trainer.h"

namespace halfpipe::oracles {

class Fixture {
 public:
  /// `name` of a file in `directory`, without its ending.
  Fixture(const std::filesystem::path& directory, const std::string& name);

  /// Model, optimizer and batch sizes; parallel and schedule are left at their defaults.
  [[nodiscard]] const config::RunConfig& config() const { return config_; }
  [[nodiscard]] int num_steps() const { return num_steps_; }

  /// A tensor of the file, by the names that make_fixtures.py documents.
  [[nodiscard]] std::vector<float> values(const std::string& name) const;
  /// The global batch of a step.
  [[nodiscard]] runtime::HostBatch batch(int step) const;

 private:
  [[nodiscard]] const checkpoint::TensorEntry& entry(const std::string& name) const;
  [[nodiscard]] std::string setting(const std::string& key) const;
  /// Row `step` of `inputs` or `targets`: [sequences, T].
  [[nodiscard]] std::vector<std::int32_t> tokens(const std::string& name, int step) const;

  checkpoint::SafetensorsFile file_;
  config::RunConfig config_;
  int num_steps_;
};

}  // namespace halfpipe::oracles
