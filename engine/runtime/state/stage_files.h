// SPDX-License-Identifier: Apache-2.0
// The files of one stage in a checkpoint: its parameters and their moments, whole under the names
// of the model, whatever ranks hold of them.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>

#include "engine/checkpoint/sliced_file.h"
#include "engine/config/run_config.h"
#include "engine/model/parameter.h"
#include "engine/model/stage_map.h"
#include "engine/runtime/state/host_window.h"
#include "engine/runtime/state/saved_state.h"

namespace halfpipe::runtime {

/// Seen by one rank: how all of them go about it is SlicedFile's contract.
class StageFiles {
 public:
  /// Of the model's parameters, and of both moments.
  using Written = std::array<checkpoint::WrittenParts, 2>;

  /// Touches no file; the same on every rank.
  StageFiles(const std::filesystem::path& directory,
             const config::RunConfig& config,
             const model::StageLayers& layers,
             int num_stages);

  [[nodiscard]] int stage() const { return layers_.stage; }
  /// Whether the parameter is of this stage's layers.
  [[nodiscard]] bool hold(const model::ParameterSpec& spec) const;

  void create();
  /// Elements first .. last - 1 of a part of a parameter of this stage, which lie on the host.
  void write(const SavedPart& part, std::int64_t first, std::int64_t last, const void* values);
  /// All of it, from the device.
  void write(const SavedPart& part, HostWindow& window);
  void close();
  void finish(const Written& all);
  [[nodiscard]] Written written() const { return {model_.written(), optimizer_.written()}; }

 private:
  model::StageLayers layers_;
  checkpoint::SlicedFile model_;
  checkpoint::SlicedFile optimizer_;
};

}  // namespace halfpipe::runtime
