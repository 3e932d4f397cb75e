// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/loaded_model.h"

#include <fmt/format.h>

#include <span>

#include "engine/checkpoint/resume.h"
#include "engine/config/load_config.h"
#include "engine/runtime/state/host_window.h"
#include "kernels/core/error.h"

namespace halfpipe::tools {

void LoadedModel::load_into(model::ParameterSet& parameters, device::Backend& backend) const {
  const std::unique_ptr<device::Stream> stream = backend.make_stream("loading");
  runtime::HostWindow window(backend, *stream);
  for (model::Parameter& parameter : parameters.all()) {
    window.write(parameter.value, parameter.count(), sizeof(float),
                 [&](std::int64_t first, std::int64_t last, void* values) {
                   reader.tensors.read_weights(
                       parameter.spec.name, parameter.spec.shape, {parameter.slice, first},
                       {static_cast<float*>(values), static_cast<std::size_t>(last - first)});
                 });
  }
}

const data::Vocabulary& LoadedModel::text_vocabulary() const {
  if (!vocabulary || !vocabulary->has_text()) {
    throw FileError(fmt::format(
        "{}: no vocabulary.json that knows text: this model was trained on token shards or "
        "written by another program",
        directory.string()));
  }
  return *vocabulary;
}

LoadedModel open_model(const std::string& path) {
  std::filesystem::path directory = checkpoint::locate_checkpoint(path);
  LoadedModel model{directory, checkpoint::ModelReader(directory), {}, {}, {}};
  model.config = model.reader.config;
  if (std::filesystem::exists(directory / "trainer.json")) {
    model.state = checkpoint::read_trainer_state(directory);
    const config::RunConfig saved =
        config::parse_saved_config(model.state->config, (directory / "trainer.json").string());
    model.config.bias = saved.model.bias;
  }
  const std::filesystem::path vocabulary = directory / data::kVocabularyFile;
  if (!std::filesystem::exists(vocabulary)) return model;
  model.vocabulary = data::Vocabulary::read(vocabulary.string());
  // Its later tokens would read beyond the embedding table.
  if (model.vocabulary->size() > model.config.vocab_size) {
    throw FileError(fmt::format("{}: has {} tokens, more than the model's vocab_size ({})",
                                vocabulary.string(), model.vocabulary->size(),
                                model.config.vocab_size));
  }
  return model;
}

LoadedModel open_whole_model(const std::string& path) {
  checkpoint::verify_if_ours(checkpoint::locate_checkpoint(path));
  return open_model(path);
}

}  // namespace halfpipe::tools
