// SPDX-License-Identifier: Apache-2.0
// From a DataConfig to token sources.
#include "engine/data/dataset.h"

#include "engine/data/file_list.h"
#include "engine/data/text_tokens.h"
#include "kernels/core/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

namespace halfpipe::data {

namespace {

void check_config(const DataConfig& config) {
  const bool has_shards = !config.train_shards.empty() || !config.validation_shards.empty();
  if (config.text.empty() && !has_shards)
    throw ConfigError("data: one of text and shards must be given");
  if (!config.text.empty() && has_shards)
    throw ConfigError("data: text and shards exclude each other");
  if (has_shards && config.train_shards.empty()) {
    throw ConfigError(
        fmt::format("data.shards.train must be given beside data.shards.validation (\"{}\")",
                    config.validation_shards));
  }
  if (has_shards && config.vocabulary == "characters") {
    throw ConfigError(
        "data.vocabulary (characters) needs data.text; with shards it must be a vocabulary file or "
        "absent");
  }
  if (!(config.validation_fraction >= 0.0 && config.validation_fraction < 1.0)) {
    throw ConfigError(fmt::format("data.validation_fraction ({}) must be at least 0 and below 1",
                                  config.validation_fraction));
  }
}

Vocabulary text_vocabulary(const DataConfig& config, std::span<const std::string> files) {
  if (config.vocabulary == "bytes") return Vocabulary::bytes();
  if (config.vocabulary == "characters") return characters_of_files(files);
  return Vocabulary::read(config.vocabulary);
}

std::unique_ptr<TokenSource> in_memory(TokenVector tokens, const std::string& label) {
  return std::visit([&](auto& typed) { return tokens_in_memory(std::move(typed), label); }, tokens);
}

// Cuts `tokens` after the first `num_train`; the tail is copied out, so that each split owns its
// tokens.
TokenVector take_tail(TokenVector& tokens, std::int64_t num_train) {
  return std::visit(
      [&](auto& typed) -> TokenVector {
        auto tail =
            std::remove_reference_t<decltype(typed)>(typed.begin() + num_train, typed.end());
        typed.resize(static_cast<std::size_t>(num_train));
        return tail;
      },
      tokens);
}

std::int64_t count(const TokenVector& tokens) {
  return std::visit([](const auto& typed) { return static_cast<std::int64_t>(typed.size()); },
                    tokens);
}

void check_text(const TokenVector& tokens,
                std::span<const std::string> files,
                std::string_view key) {
  if (count(tokens) > 0) return;
  throw FileError(fmt::format("{}: no text in {} file(s), the first of them {}", key, files.size(),
                              files.front()));
}

Dataset open_text_dataset(const DataConfig& config, std::string_view text_key) {
  const auto files = list_files(config.text, text_key);
  Dataset dataset{text_vocabulary(config, files), nullptr, nullptr};
  TokenVector tokens = encode_files(dataset.vocabulary, files);
  check_text(tokens, files, text_key);
  const std::int64_t num_tokens = count(tokens);
  // nanoGPT's int(n * 0.9), and the same for every fraction.
  const auto num_train = static_cast<std::int64_t>(static_cast<double>(num_tokens) *
                                                   (1.0 - config.validation_fraction));
  if (num_train == 0) {
    throw FileError(
        fmt::format("{}: {} token(s) leave none for training with data.validation_fraction {}",
                    text_key, num_tokens, config.validation_fraction));
  }
  TokenVector tail = take_tail(tokens, num_train);
  dataset.train = in_memory(std::move(tokens), "the training text");
  if (count(tail) > 0) dataset.validation = in_memory(std::move(tail), "the validation text");
  return dataset;
}

std::unique_ptr<TokenSource> open_shards(const std::vector<std::string>& files) {
  std::vector<TokenShard> shards;
  shards.reserve(files.size());
  for (const std::string& path : files) shards.emplace_back(path);
  return tokens_in_shards(std::move(shards));
}

Vocabulary shard_vocabulary(const std::string& configured,
                            const std::string& first_shard,
                            const Dataset& dataset) {
  if (configured != "bytes") return Vocabulary::read(configured);
  const auto beside = std::filesystem::path(first_shard).parent_path() / kVocabularyFile;
  std::error_code ignored;
  if (std::filesystem::exists(beside, ignored)) return Vocabulary::read(beside.string());
  std::int64_t largest = 0;
  for (const TokenSource* split : {dataset.train.get(), dataset.validation.get()}) {
    if (split == nullptr) continue;
    const auto [token, position] = split->largest();
    if (token >= kMaxVocabSize) {
      throw FileError(fmt::format("{} has id {}; every token id must be below {}",
                                  split->describe(position), token, kMaxVocabSize));
    }
    largest = std::max(largest, token);
  }
  return Vocabulary::without_text(static_cast<int>(largest + 1));
}

Dataset open_shard_dataset(const DataConfig& config) {
  const auto train_files = list_files({&config.train_shards, 1}, "data.shards.train");
  Dataset dataset{Vocabulary::bytes(), open_shards(train_files), nullptr};
  if (!config.validation_shards.empty()) {
    dataset.validation =
        open_shards(list_files({&config.validation_shards, 1}, "data.shards.validation"));
  }
  dataset.vocabulary = shard_vocabulary(config.vocabulary, train_files.front(), dataset);
  return dataset;
}

}  // namespace

Dataset open_dataset(const DataConfig& config, std::string_view text_key) {
  check_config(config);
  return config.text.empty() ? open_shard_dataset(config) : open_text_dataset(config, text_key);
}

std::unique_ptr<TokenSource> open_text(const Vocabulary& vocabulary,
                                       const std::vector<std::string>& patterns,
                                       std::string_view key) {
  const auto files = list_files(patterns, key);
  TokenVector tokens = encode_files(vocabulary, files);
  check_text(tokens, files, key);
  return in_memory(std::move(tokens), "the text");
}

}  // namespace halfpipe::data
