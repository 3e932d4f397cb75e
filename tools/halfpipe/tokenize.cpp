// SPDX-License-Identifier: Apache-2.0
// halfpipe tokenize: text to token shards.
#include <fmt/format.h>

#include <memory>

#include "engine/data/shard_writer.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/option_checks.h"

namespace halfpipe::tools {

void add_tokenize(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("tokenize", "Write the tokens of a text as shards that training reads");
  const auto options = std::make_shared<data::TokenizeOptions>();
  command->add_option("text", options->inputs, "Files, folders or globs")->required();
  command
      ->add_option("--out", options->out_dir,
                   "Folder for train_*.bin, val_*.bin and vocabulary.json")
      ->required();
  command
      ->add_option("--vocabulary", options->vocabulary, "bytes, characters, or a vocabulary file")
      ->capture_default_str();
  command
      ->add_option("--validation-fraction", options->validation_fraction,
                   "Taken from the end of the text")
      ->check(fraction_below_one())
      ->capture_default_str();
  command->add_option("--shard-tokens", options->shard_tokens, "Tokens per shard")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 31))
      ->capture_default_str();
  command->footer(
      "The shards are llm.c's (256 int32 of header, then 16- or 32-bit tokens). In a "
      "configuration:\n"
      "  data: {shards: {train: tokens/train_*.bin, validation: tokens/val_*.bin}}\n"
      "Example:\n  halfpipe tokenize corpus/ --out tokens --vocabulary characters");
  command->callback([options] {
    const data::TokenizeReport report = data::tokenize_files(*options);
    fmt::print("{} training tokens, {} validation tokens, vocabulary of {}: {}\n",
               report.num_train_tokens, report.num_validation_tokens, report.vocab_size,
               options->out_dir);
  });
}

}  // namespace halfpipe::tools
