// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/resume_rules.h"

#include <fmt/format.h>

#include "engine/config/load_config.h"
#include "kernels/core/error.h"

namespace halfpipe::runtime {

namespace {

class Comparison {
 public:
  explicit Comparison(std::string directory) : directory_(std::move(directory)) {}

  template <typename Value>
  void must_equal(const char* key, const Value& now, const Value& then) const {
    if (now == then) return;
    throw ConfigError(
        fmt::format("{} ({}): the checkpoint {} was trained with {}", key, now, directory_, then));
  }
  template <typename Value>
  void note(const char* key, const Value& now, const Value& then) {
    if (now == then) return;
    notes_.push_back(fmt::format(
        "{} is {} now and was {} in the checkpoint: the run goes on differently from an "
        "uninterrupted one",
        key, now, then));
  }
  [[nodiscard]] std::vector<std::string> take() { return std::move(notes_); }

 private:
  std::string directory_;
  std::vector<std::string> notes_;
};

}  // namespace

std::vector<std::string> check_resume(const config::RunConfig& config,
                                      const checkpoint::TrainerState& state,
                                      const std::filesystem::path& directory) {
  const config::RunConfig saved =
      config::parse_config(state.config, (directory / "trainer.json").string(), {});
  Comparison compare(directory.string());
  compare.must_equal("model.num_layers", config.model.num_layers, saved.model.num_layers);
  compare.must_equal("model.num_heads", config.model.num_heads, saved.model.num_heads);
  compare.must_equal("model.hidden_size", config.model.hidden_size, saved.model.hidden_size);
  compare.must_equal("model.seq_len", config.model.seq_len, saved.model.seq_len);
  compare.must_equal("model.vocab_size", config.model.vocab_size, saved.model.vocab_size);
  compare.must_equal("model.bias", config.model.bias, saved.model.bias);
  compare.must_equal("model.tie_embeddings", config.model.tie_embeddings,
                     saved.model.tie_embeddings);
  compare.must_equal("train.seed", config.train.seed, saved.train.seed);
  compare.must_equal("train.global_batch_size", config.train.global_batch_size,
                     saved.train.global_batch_size);
  if (state.step > config.train.steps) {
    throw ConfigError(fmt::format("train.steps ({}): the checkpoint {} has done {} steps already",
                                  config.train.steps, directory.string(), state.step));
  }
  compare.note("train.steps", config.train.steps, saved.train.steps);
  compare.note("train.micro_batch_size", config.train.micro_batch_size,
               saved.train.micro_batch_size);
  compare.note("optimizer.learning_rate", config.optimizer.learning_rate,
               saved.optimizer.learning_rate);
  compare.note("optimizer.min_learning_rate", config.optimizer.min_learning_rate,
               saved.optimizer.min_learning_rate);
  compare.note("optimizer.warmup_steps", config.optimizer.warmup_steps,
               saved.optimizer.warmup_steps);
  compare.note("optimizer.beta1", config.optimizer.beta1, saved.optimizer.beta1);
  compare.note("optimizer.beta2", config.optimizer.beta2, saved.optimizer.beta2);
  compare.note("optimizer.epsilon", config.optimizer.epsilon, saved.optimizer.epsilon);
  compare.note("optimizer.weight_decay", config.optimizer.weight_decay,
               saved.optimizer.weight_decay);
  compare.note("optimizer.clip_grad_norm", config.optimizer.clip_grad_norm,
               saved.optimizer.clip_grad_norm);
  return compare.take();
}

}  // namespace halfpipe::runtime
