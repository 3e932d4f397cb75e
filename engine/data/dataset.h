// SPDX-License-Identifier: Apache-2.0
// What section `data` of a configuration opens: a vocabulary and the tokens of both splits.
#pragma once

#include "engine/data/data_config.h"
#include "engine/data/token_source.h"
#include "engine/data/vocabulary.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace halfpipe::data {

struct Dataset {
  Vocabulary vocabulary;
  std::unique_ptr<TokenSource> train;       // never null
  std::unique_ptr<TokenSource> validation;  // null: no validation split
};

/// Text: the files of config.text (list_files) are joined in sorted order and encoded; of n tokens
/// the first floor(n (1 - validation_fraction)) are the training split, the rest is the validation
/// split, which is null where nothing remains. The vocabulary is bytes, the characters of all the
/// files, or a vocabulary file.
///
/// Shards: the files of each glob are joined in sorted order. The vocabulary is the file that
/// config.vocabulary names; else, for the default (bytes), `vocabulary.json` in the folder of the
/// first training shard; else one without text that ends at the largest id in use (finding it reads
/// all shards once). No validation_shards: no validation split.
///
/// Deterministic: every rank that opens the same files gets the same tokens. Throws ConfigError or
/// FileError that names key or file, value and rule; `text_key` is what messages call config.text.
/// Token ids are not compared with the model's vocabulary: see check_tokens().
[[nodiscard]] Dataset open_dataset(const DataConfig& config,
                                   std::string_view text_key = "data.text");

/// The tokens of text files under a vocabulary that is already known, for instance a checkpoint's.
[[nodiscard]] std::unique_ptr<TokenSource> open_text(const Vocabulary& vocabulary,
                                                     const std::vector<std::string>& patterns,
                                                     std::string_view key);

}  // namespace halfpipe::data
