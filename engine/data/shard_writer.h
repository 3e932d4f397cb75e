// SPDX-License-Identifier: Apache-2.0
// Writes token shards in llm.c's format (token_shard.h), and text files as shards: the work of
// `halfpipe tokenize`.
#pragma once

#include "engine/data/vocabulary.h"
#include "engine/files/output_file.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace halfpipe::data {

/// Writes one split as FOLDER/PREFIX_000000.bin, PREFIX_000001.bin, ...: 16-bit tokens where
/// vocab_size fits them, else 32-bit. The shards get their names together in publish(); a writer
/// destroyed before leaves no file.
class ShardWriter {
 public:
  /// 1 <= shard_tokens <= kMaxShardTokens: tokens per shard; the last shard has what remains.
  ShardWriter(std::string folder, std::string prefix, int vocab_size, std::int64_t shard_tokens);

  /// Each token in 0 .. vocab_size - 1. Throws RuntimeFailure that names the file where it cannot
  /// be written.
  void append(std::span<const std::int32_t> tokens);
  /// Flushes every shard to disk, then renames them into place. Nothing may follow.
  void publish();

  [[nodiscard]] std::vector<std::string> paths() const;
  [[nodiscard]] std::int64_t num_tokens() const noexcept { return num_tokens_; }

 private:
  void begin_shard();
  void end_shard();

  std::string folder_;
  std::string prefix_;
  int vocab_size_;
  std::int64_t shard_tokens_;
  std::int64_t num_tokens_ = 0;
  std::int64_t num_in_shard_ = 0;
  std::vector<std::unique_ptr<files::OutputFile>>
      shards_;  // the last one is open unless num_in_shard_ is 0
};

struct TokenizeOptions {
  std::vector<std::string> inputs;   // files, folders, globs of text
  std::string vocabulary = "bytes";  // bytes | characters | path of a vocabulary file
  double validation_fraction = 0.1;  // of the text, taken from its end
  std::string out_dir;               // made where it does not exist
  std::int64_t shard_tokens = 100'000'000;
};

struct TokenizeReport {
  int vocab_size;
  std::int64_t num_train_tokens;
  std::int64_t num_validation_tokens;
  std::vector<std::string> files;  // all that was written, the vocabulary first
};

/// Writes vocabulary.json, train_000000.bin, ... and val_000000.bin, ... into out_dir, split as
/// open_dataset() splits text. Throws ConfigError or FileError for wrong input, also where out_dir
/// already holds train_*.bin, val_*.bin or a vocabulary (stale shards would join the new ones under
/// one glob), and RuntimeFailure where writing fails; then nothing is left in out_dir.
TokenizeReport tokenize_files(const TokenizeOptions& options);

}  // namespace halfpipe::data
