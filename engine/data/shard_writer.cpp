// SPDX-License-Identifier: Apache-2.0
// ShardWriter and tokenize_files.
#include "engine/data/shard_writer.h"

#include "engine/data/dataset.h"
#include "engine/data/file_list.h"
#include "engine/data/token_shard.h"
#include "kernels/core/error.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

namespace halfpipe::data {

namespace {

bool fits_16_bits(int vocab_size) {
  return vocab_size - 1 <= std::numeric_limits<std::uint16_t>::max();
}

std::array<std::int32_t, kShardHeaderWords> make_header(bool is_16_bits, std::int64_t num_tokens) {
  std::array<std::int32_t, kShardHeaderWords> header{};
  header[0] = is_16_bits ? kShardMagic16 : kShardMagic32;
  header[1] = is_16_bits ? kShardVersion16 : kShardVersion32;
  header[2] = static_cast<std::int32_t>(num_tokens);
  return header;
}

}  // namespace

ShardWriter::ShardWriter(std::string folder,
                         std::string prefix,
                         int vocab_size,
                         std::int64_t shard_tokens)
    : folder_(std::move(folder)),
      prefix_(std::move(prefix)),
      vocab_size_(vocab_size),
      shard_tokens_(shard_tokens) {
  HALFPIPE_CHECK(shard_tokens >= 1 && shard_tokens <= kMaxShardTokens,
                 "a shard's header counts in an int32");
}

void ShardWriter::append(std::span<const std::int32_t> tokens) {
  while (!tokens.empty()) {
    if (num_in_shard_ == 0) begin_shard();
    const auto room = static_cast<std::size_t>(shard_tokens_ - num_in_shard_);
    const auto now = tokens.first(std::min(room, tokens.size()));
    for (const std::int32_t token : now) {
      HALFPIPE_CHECK(token >= 0 && token < vocab_size_, "a token beyond the vocabulary");
    }
    if (fits_16_bits(vocab_size_)) {
      const std::vector<std::uint16_t> narrow(now.begin(), now.end());
      shards_.back()->write(std::as_bytes(std::span(narrow)));
    } else {
      shards_.back()->write(std::as_bytes(now));
    }
    num_in_shard_ += static_cast<std::int64_t>(now.size());
    num_tokens_ += static_cast<std::int64_t>(now.size());
    tokens = tokens.subspan(now.size());
    if (num_in_shard_ == shard_tokens_) end_shard();
  }
}

void ShardWriter::publish() {
  if (num_in_shard_ > 0) end_shard();
  for (const auto& shard : shards_) shard->commit();
}

std::vector<std::string> ShardWriter::paths() const {
  std::vector<std::string> paths;
  for (const auto& shard : shards_) paths.push_back(shard->path());
  return paths;
}

void ShardWriter::begin_shard() {
  const std::string name = fmt::format("{}_{:06}.bin", prefix_, shards_.size());
  shards_.push_back(std::make_unique<files::OutputFile>(std::filesystem::path(folder_) / name));
  // The count is not known yet; end_shard() writes it.
  const auto header = make_header(fits_16_bits(vocab_size_), 0);
  shards_.back()->write(std::as_bytes(std::span(header)));
}

void ShardWriter::end_shard() {
  const auto header = make_header(fits_16_bits(vocab_size_), num_in_shard_);
  shards_.back()->overwrite(0, std::as_bytes(std::span(header)));
  shards_.back()->close();
  num_in_shard_ = 0;
}

namespace {

void check_shard_tokens(std::int64_t shard_tokens) {
  if (shard_tokens >= 1 && shard_tokens <= kMaxShardTokens) return;
  throw ConfigError(
      fmt::format("shard-tokens ({}) must be from 1 to {}", shard_tokens, kMaxShardTokens));
}

// Makes the folder and refuses one that already holds the output of an earlier run.
void prepare_folder(const std::string& out_dir) {
  std::error_code error;
  std::filesystem::create_directories(out_dir, error);
  if (error || !std::filesystem::is_directory(out_dir)) {
    throw FileError(fmt::format("output folder {}: cannot be made: {}", out_dir,
                                error ? error.message() : "a file of that name exists"));
  }
  for (const auto& entry : std::filesystem::directory_iterator(out_dir)) {
    const std::string name = entry.path().filename().string();
    if (name == kVocabularyFile || matches_glob(name, "train_*.bin") ||
        matches_glob(name, "val_*.bin")) {
      throw FileError(fmt::format(
          "output folder {}: already holds {}; remove it or choose another folder", out_dir, name));
    }
  }
}

constexpr std::size_t kTokensAtOnce = std::size_t{1} << 16U;

void write_tokens(const TokenSource& source, ShardWriter& writer) {
  std::vector<std::int32_t> buffer(kTokensAtOnce);
  for (std::int64_t first = 0; first < source.size();) {
    const auto count = std::min(static_cast<std::int64_t>(buffer.size()), source.size() - first);
    const std::span<std::int32_t> tokens(buffer.data(), static_cast<std::size_t>(count));
    source.read(first, tokens);
    writer.append(tokens);
    first += count;
  }
}

}  // namespace

TokenizeReport tokenize_files(const TokenizeOptions& options) {
  check_shard_tokens(options.shard_tokens);
  DataConfig config;
  config.text = options.inputs;
  config.vocabulary = options.vocabulary;
  config.validation_fraction = options.validation_fraction;
  const Dataset dataset = open_dataset(config, "input");
  prepare_folder(options.out_dir);

  files::OutputFile vocabulary(std::filesystem::path(options.out_dir) / kVocabularyFile);
  const std::string json = dataset.vocabulary.to_json().dump(1) + "\n";
  vocabulary.write(json);
  vocabulary.close();
  const int vocab_size = dataset.vocabulary.size();
  ShardWriter train(options.out_dir, "train", vocab_size, options.shard_tokens);
  write_tokens(*dataset.train, train);
  ShardWriter validation(options.out_dir, "val", vocab_size, options.shard_tokens);
  if (dataset.validation) write_tokens(*dataset.validation, validation);

  // The vocabulary comes first: shards without one would be taken for another tokenizer's.
  vocabulary.commit();
  train.publish();
  validation.publish();
  TokenizeReport report{
      vocab_size, train.num_tokens(), validation.num_tokens(), {vocabulary.path()}};
  for (const ShardWriter* writer : {&train, &validation}) {
    for (std::string& path : writer->paths()) report.files.push_back(std::move(path));
  }
  return report;
}

}  // namespace halfpipe::data
