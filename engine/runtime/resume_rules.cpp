// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/resume_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "engine/config/key_table.h"
#include "engine/config/load_config.h"
#include "kernels/core/error.h"

namespace halfpipe::runtime {

namespace {

/// The model, and what decides which sequences a step sees.
constexpr std::array<std::string_view, 9> kFixedKeys = {
    "model.num_layers",     "model.num_heads",  "model.hidden_size",
    "model.seq_len",        "model.vocab_size", "model.bias",
    "model.tie_embeddings", "train.seed",       "train.global_batch_size"};

/// Whole sections and single keys that leave every bit of the parameters as it would have been.
constexpr std::array<std::string_view, 8> kFreeKeys = {
    "parallel.", "schedule.", "device.", "output.", "debug.", "train.evaluate_",
    // The whole run started from it; a checkpoint is past that.
    "model.init_from",
    // Steps then wait or do not; the results are the same.
    "optimizer.post_validation"};

bool is_fixed(const std::string& path) {
  return std::ranges::find(kFixedKeys, path) != kFixedKeys.end();
}

bool is_free(const std::string& path) {
  return std::ranges::any_of(kFreeKeys,
                             [&](std::string_view free) { return path.starts_with(free); });
}

}  // namespace

std::vector<std::string> check_resume(const config::RunConfig& config,
                                      const checkpoint::TrainerState& state,
                                      const std::filesystem::path& directory) {
  const config::RunConfig saved =
      config::parse_config(state.config, (directory / "trainer.json").string(), {});
  std::vector<std::string> notes;
  for (const config::Key& key : config::key_table()) {
    const std::string& path = key.doc.path;
    const std::string now = key.write(config);
    const std::string then = key.write(saved);
    if (now == then || is_free(path)) continue;
    if (is_fixed(path)) {
      throw ConfigError(fmt::format("{} ({}): the checkpoint {} was trained with {}", path, now,
                                    directory.string(), then));
    }
    notes.push_back(fmt::format(
        "{} is {} now and was {} in the checkpoint: the run goes on differently from an "
        "uninterrupted one",
        path, now, then));
  }
  if (state.step > config.train.steps) {
    throw ConfigError(fmt::format("train.steps ({}): the checkpoint {} has done {} steps already",
                                  config.train.steps, directory.string(), state.step));
  }
  return notes;
}

}  // namespace halfpipe::runtime
