// SPDX-License-Identifier: Apache-2.0
// The files of one stage in a checkpoint: its parameters and their moments, whole under the names
// of the model, whatever ranks hold of them.
#pragma once

#include <array>
#include <filesystem>

#include "engine/checkpoint/sliced_file.h"
#include "engine/config/run_config.h"
#include "engine/model/parameter.h"
#include "engine/model/stage_map.h"
#include "engine/runtime/held_moments.h"
#include "engine/runtime/host_window.h"

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
  /// The values of this rank's slice.
  void write_values(const model::Parameter& parameter, HostWindow& window);
  void write_moments(const model::Parameter& parameter,
                     const HeldMoments& moments,
                     HostWindow& window);
  void close();
  void finish(const Written& all);
  [[nodiscard]] Written written() const { return {model_.written(), optimizer_.written()}; }

 private:
  void write_moment(const std::string& name,
                    const model::Parameter& parameter,
                    const HeldMoments& range,
                    const void* values,
                    HostWindow& window);

  model::StageLayers layers_;
  checkpoint::SlicedFile model_;
  checkpoint::SlicedFile optimizer_;
};

}  // namespace halfpipe::runtime
