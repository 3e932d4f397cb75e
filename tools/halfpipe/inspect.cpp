// SPDX-License-Identifier: Apache-2.0
// halfpipe inspect: what a checkpoint holds, and whether it is whole.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/checkpoint/manifest.h"
#include "engine/checkpoint/parameter_hash.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/loaded_model.h"

namespace halfpipe::tools {

namespace {

void print_tensors(const checkpoint::ShardedTensors& tensors) {
  for (const std::string& name : tensors.names()) {
    fmt::print("  {:<44} [{}]\n", name, fmt::join(tensors.entry(name).shape, ", "));
  }
}

void inspect(const std::string& path) {
  const LoadedModel model = open_model(path);
  const model::TransformerConfig& config = model.config;
  fmt::print("directory   {}\n", model.directory.string());
  if (std::filesystem::exists(model.directory / checkpoint::kManifestName)) {
    checkpoint::verify_directory(model.directory);
    fmt::print("manifest    every file is whole\n");
  } else {
    fmt::print("manifest    none: written by another program\n");
  }
  fmt::print(
      "model       gpt2: {} blocks, hidden {}, {} heads, context {}, vocabulary {}, {} head, {}\n",
      config.num_layers, config.hidden_size, config.num_heads, config.seq_len, config.vocab_size,
      config.tie_embeddings ? "tied" : "untied", config.bias ? "biases" : "no biases");
  if (model.state) {
    fmt::print("training    step {}, {} tokens seen, seed {}\n", model.state->step,
               model.state->tokens_seen, model.state->seed);
  }
  std::vector<std::string> names;
  for (const model::ParameterSpec& spec : model::all_parameters(config)) names.push_back(spec.name);
  const std::string hash = checkpoint::parameter_hash(model.reader.tensors, names);
  fmt::print("parameters  hash {}\n", hash);
  if (model.state && model.state->parameter_hash != hash) {
    throw FileError(fmt::format("{}: trainer.json says parameter hash {}, the tensors have {}",
                                model.directory.string(), model.state->parameter_hash, hash));
  }
  fmt::print("tensors\n");
  print_tensors(model.reader.tensors);
}

}  // namespace

void add_inspect(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "inspect", "Show a checkpoint: configuration, tensors, hash; check its digests");
  const auto path = std::make_shared<std::string>();
  command
      ->add_option("checkpoint", *path,
                   "A run's output.dir (its latest checkpoint), a checkpoint, or a GPT-2 directory")
      ->required();
  command->footer("Example:\n  halfpipe inspect runs/quickstart");
  command->callback([path] { inspect(*path); });
}

}  // namespace halfpipe::tools
