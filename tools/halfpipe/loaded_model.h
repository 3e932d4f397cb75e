// SPDX-License-Identifier: Apache-2.0
// A checkpoint, or any GPT-2 directory, opened for reading by a command.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "engine/checkpoint/model_directory.h"
#include "engine/checkpoint/trainer_state.h"
#include "engine/data/vocabulary.h"
#include "engine/model/parameter.h"
#include "kernels/device/backend.h"

namespace halfpipe::tools {

struct LoadedModel {
  std::filesystem::path directory;
  checkpoint::ModelReader reader;
  model::TransformerConfig config;  // reader.config, and what only trainer.json knows (biases)
  std::optional<checkpoint::TrainerState> state;  // absent: written by somebody else
  std::optional<data::Vocabulary> vocabulary;     // absent: written by somebody else

  /// Copies every parameter from the files to the device; FileError naming one that is not finite.
  void load_into(model::ParameterSet& parameters, device::Backend& backend) const;
  /// Throws FileError naming the directory when text cannot be read or written with it.
  [[nodiscard]] const data::Vocabulary& text_vocabulary() const;
};

/// `path`: a run's output.dir (its latest checkpoint), a checkpoint, or a GPT-2 directory.
/// FileError when its vocabulary has more tokens than the model. Verifies no digests.
[[nodiscard]] LoadedModel open_model(const std::string& path);

/// The same for a command that uses the weights: what has a manifest is verified first, FileError
/// naming the damaged file.
[[nodiscard]] LoadedModel open_whole_model(const std::string& path);

}  // namespace halfpipe::tools
