// SPDX-License-Identifier: Apache-2.0
#include "tests/oracles/fixture.h"

#include <algorithm>
#include <cstddef>

#include "kernels/core/error.h"

namespace halfpipe::oracles {

Fixture::Fixture(const std::filesystem::path& directory, const std::string& name)
    : file_(directory / (name + ".safetensors")) {
  model::TransformerConfig& model = config_.model;
  model.num_layers = std::stoi(setting("num_layers"));
  model.num_heads = std::stoi(setting("num_heads"));
  model.hidden_size = std::stoi(setting("hidden_size"));
  model.seq_len = std::stoi(setting("seq_len"));
  model.vocab_size = std::stoi(setting("vocab_size"));
  model.bias = setting("bias") == "true";
  model.tie_embeddings = setting("tie_embeddings") == "true";

  optimizer::OptimizerConfig& optimizer = config_.optimizer;
  optimizer.learning_rate = std::stod(setting("learning_rate"));
  optimizer.beta1 = std::stod(setting("beta1"));
  optimizer.beta2 = std::stod(setting("beta2"));
  optimizer.epsilon = std::stod(setting("epsilon"));
  optimizer.weight_decay = std::stod(setting("weight_decay"));
  optimizer.clip_grad_norm = std::stod(setting("clip_grad_norm"));

  const checkpoint::TensorEntry& inputs = entry("inputs");
  num_steps_ = static_cast<int>(inputs.shape.at(0));
  config_.train.steps = num_steps_;
  config_.train.global_batch_size = static_cast<int>(inputs.shape.at(1));
  config_.train.micro_batch_size = std::stoi(setting("micro_batch_size"));
}

std::string Fixture::setting(const std::string& key) const {
  const auto found = file_.metadata().find(key);
  HALFPIPE_CHECK(found != file_.metadata().end(), file_.path().string() + " does not say " + key);
  return found->second;
}

const checkpoint::TensorEntry& Fixture::entry(const std::string& name) const {
  const checkpoint::TensorEntry* found = file_.find_or_null(name);
  HALFPIPE_CHECK(found != nullptr, file_.path().string() + " has no tensor " + name);
  return *found;
}

std::vector<float> Fixture::values(const std::string& name) const {
  const checkpoint::TensorEntry& tensor = entry(name);
  std::vector<float> out(static_cast<std::size_t>(tensor.num_elements()));
  file_.read_float32(tensor, out);
  return out;
}

std::vector<std::int32_t> Fixture::tokens(const std::string& name, int step) const {
  // Token ids are far below 2^24, so float32 holds them exactly.
  const std::vector<float> all = values(name);
  const std::size_t count = all.size() / static_cast<std::size_t>(num_steps_);
  const std::size_t first = count * static_cast<std::size_t>(step);
  std::vector<std::int32_t> out(count);
  std::transform(all.begin() + static_cast<std::ptrdiff_t>(first),
                 all.begin() + static_cast<std::ptrdiff_t>(first + count), out.begin(),
                 [](float token) { return static_cast<std::int32_t>(token); });
  return out;
}

runtime::HostBatch Fixture::batch(int step) const {
  return {tokens("inputs", step), tokens("targets", step)};
}

}  // namespace halfpipe::oracles
