// SPDX-License-Identifier: Apache-2.0
// halfpipe generate: text from a checkpoint.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/model/decoder.h"
#include "engine/model/sample_token.h"
#include "kernels/core/error.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/inference_device.h"
#include "tools/halfpipe/loaded_model.h"
#include "tools/halfpipe/option_checks.h"

namespace halfpipe::tools {

namespace {

struct Options {
  std::string checkpoint;
  std::optional<std::string> prompt;
  int tokens = 200;
  double temperature = 0.8;
  int top_k = 0;
  std::uint64_t seed = 1;
  InferenceDevice device;
};

/// Texts begin after a line break, where the vocabulary has one.
std::vector<std::int32_t> first_tokens(const std::optional<std::string>& prompt,
                                       const data::Vocabulary& vocabulary) {
  constexpr std::int32_t kFirstCharacter = 0;
  if (!prompt && !vocabulary.has_character(U'\n')) return {kFirstCharacter};
  if (!prompt) return vocabulary.encode("\n");
  std::vector<std::int32_t> text = vocabulary.encode(*prompt, "--prompt");
  if (text.empty()) throw ConfigError("--prompt: at least one token is needed to start from");
  return text;
}

/// Logits after all of `text`. When the context is full, the decoder starts again from its newer
/// half.
std::span<const float> feed(model::Decoder& decoder,
                            const model::TransformerConfig& config,
                            const std::vector<std::int32_t>& text,
                            std::size_t num_new) {
  const auto context = static_cast<std::size_t>(config.seq_len);
  if (static_cast<std::size_t>(decoder.length()) + num_new <= context) {
    return decoder.extend(std::span(text).last(num_new));
  }
  decoder.reset();
  const std::size_t kept = std::min(text.size(), std::max<std::size_t>(context / 2, 1));
  return decoder.extend(std::span(text).last(kept));
}

void generate(const Options& options) {
  const LoadedModel model = open_whole_model(options.checkpoint);
  const data::Vocabulary& vocabulary = model.text_vocabulary();
  std::vector<std::int32_t> text = first_tokens(options.prompt, vocabulary);

  const auto backend = make_backend(options.device);
  model::Decoder decoder(model.config, *backend);
  model.load_into(decoder.parameters(), *backend);

  const model::Sampling sampling{options.temperature, options.top_k, vocabulary.size(),
                                 options.seed};
  std::size_t num_new = text.size();
  for (int i = 0; i < options.tokens; ++i) {
    const std::span<const float> logits = feed(decoder, model.config, text, num_new);
    text.push_back(model::sample_token(logits, sampling, static_cast<std::uint64_t>(i)));
    num_new = 1;
  }
  const std::string written = vocabulary.decode(text);
  fmt::print("{}\n", written);
  std::fflush(stdout);
}

}  // namespace

void add_generate(CLI::App& app) {
  CLI::App* command = app.add_subcommand("generate", "Let a checkpoint write text");
  const auto options = std::make_shared<Options>();
  command
      ->add_option("checkpoint", options->checkpoint,
                   "A run's output.dir (its latest checkpoint) or a checkpoint")
      ->required();
  command->add_option("--prompt", options->prompt,
                      "Text to go on from (default: a line break, or the first character of a "
                      "vocabulary without one)");
  command->add_option("--tokens", options->tokens, "How many tokens to write")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command
      ->add_option("--temperature", options->temperature,
                   "Divides the logits; 0: always the likeliest token")
      ->check(number_from(0.0, 100.0))
      ->capture_default_str();
  command
      ->add_option("--top-k", options->top_k,
                   "Choose among the k likeliest tokens only; 0: among all")
      ->check(CLI::Range(0, 1000000000))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "The same seed writes the same text")
      ->check(whole_number_of_64_bits())
      ->capture_default_str();
  add_device_options(*command, options->device);
  command->footer(
      "Examples:\n"
      "  halfpipe generate runs/quickstart --prompt 'template <' --tokens 300 --temperature 0.7\n"
      "  halfpipe generate runs/gpt2-124m-gpu1 --device cuda");
  command->callback([options] { generate(*options); });
}

}  // namespace halfpipe::tools
