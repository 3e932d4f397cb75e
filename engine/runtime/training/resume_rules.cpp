// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/resume_rules.h"

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
constexpr std::array<std::string_view, 18> kFreeKeys = {
    "parallel.pipeline", "parallel.order", "parallel.gather_again", "parallel.layers_per_stage",
    "parallel.transport", "schedule.", "device.threads_per_rank", "device.pin_threads",
    "device.hardware", "device.cuda_graphs", "device.fused_bias_gradient", "output.", "debug.",
    "train.evaluate_", "train.recompute",
    // The whole run started from it; a checkpoint is past that.
    "model.init_from",
    // Who steps which parameters.
    "optimizer.zero_stage",
    // Steps then wait or do not; the results are the same.
    "optimizer.post_validation"};

bool is_fixed(const std::string& path) {
  return std::ranges::find(kFixedKeys, path) != kFixedKeys.end();
}

bool is_free(const std::string& path) {
  return std::ranges::any_of(kFreeKeys,
                             [&](std::string_view free) { return path.starts_with(free); });
}

/// "data.text ([a.txt]), data.vocabulary (characters)": where a user says what the tokens are.
std::string data_in_words(const config::RunConfig& config) {
  const auto key = [&](std::string_view path) {
    return fmt::format("{} ({})", path, config::find_key_or_null(path)->write(config));
  };
  return key(config.data.text.empty() ? "data.shards.train" : "data.text") + ", " +
         key("data.vocabulary");
}

/// Whether the user named other data than the checkpoint's run did.
bool names_other_data(const config::RunConfig& now, const config::RunConfig& then) {
  return now.data != then.data;
}

/// What to say of data that changed. Other training tokens under the same name are refused: nobody
/// asked for them, and the order of the data would begin anew unnoticed.
std::vector<std::string> check_data(const TrainingInputs& inputs,
                                    const checkpoint::DataRecord& then,
                                    const config::RunConfig& saved,
                                    const std::filesystem::path& directory) {
  const checkpoint::DataRecord& now = inputs.data_record;
  const bool same_training =
      now.train_tokens == then.train_tokens && now.train_digest == then.train_digest;
  if (!same_training && !names_other_data(inputs.config, saved)) {
    throw ConfigError(fmt::format(
        "{}: the training split is another one ({} tokens) than that of the checkpoint {} ({} "
        "tokens), so the order of the data cannot go on; put the old data back, or begin with "
        "these weights: model.init_from",
        data_in_words(inputs.config), now.train_tokens, directory.string(), then.train_tokens));
  }
  if (same_training && now != then) {
    return {
        fmt::format("the validation split is another one ({} tokens) than that of the "
                    "checkpoint ({} tokens): validation losses do not compare",
                    now.validation_tokens, then.validation_tokens)};
  }
  return {};
}

}  // namespace

std::vector<std::string> check_resume(const TrainingInputs& inputs,
                                      const checkpoint::TrainerState& state,
                                      const std::filesystem::path& directory) {
  const config::RunConfig& config = inputs.config;
  const config::RunConfig saved =
      config::parse_saved_config(state.config, (directory / "trainer.json").string());
  const bool same_data = state.data && *state.data == inputs.data_record;
  std::vector<std::string> notes;
  for (const config::Key& key : config::key_table()) {
    const std::string& path = key.doc.path;
    const std::string now = key.write(config);
    const std::string then = key.write(saved);
    if (now == then || is_free(path)) continue;
    if (same_data && path.starts_with("data.")) continue;
    if (is_fixed(path)) {
      throw ConfigError(fmt::format("{} ({}): the checkpoint {} was trained with {}", path, now,
                                    directory.string(), then));
    }
    notes.push_back(fmt::format(
        "{} is {} now and was {} in the checkpoint: the run goes on differently from an "
        "uninterrupted one",
        path, now, then));
  }
  check_vocabulary(config, inputs.dataset->vocabulary, "--resume", directory);
  if (state.data) {
    const std::vector<std::string> more = check_data(inputs, *state.data, saved, directory);
    notes.insert(notes.end(), more.begin(), more.end());
  }
  if (state.step > config.train.steps) {
    throw ConfigError(fmt::format("train.steps ({}): the checkpoint {} has done {} steps already",
                                  config.train.steps, directory.string(), state.step));
  }
  return notes;
}

void check_vocabulary(const config::RunConfig& config,
                      const data::Vocabulary& vocabulary,
                      std::string_view key,
                      const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / data::kVocabularyFile;
  if (!std::filesystem::exists(file)) return;
  const data::Vocabulary saved = data::Vocabulary::read(file.string());
  if (saved == vocabulary || !saved.has_text() || !vocabulary.has_text()) return;
  throw ConfigError(fmt::format(
      "{}: the vocabulary has {} tokens, and {} ({}) was trained with another one of {}; with "
      "data.vocabulary: {} text is read as it was there",
      data_in_words(config), vocabulary.size(), key, directory.string(), saved.size(),
      file.string()));
}

}  // namespace halfpipe::runtime
