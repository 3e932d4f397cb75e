// SPDX-License-Identifier: Apache-2.0
// Where tokens come from: section `data` of a configuration.
#pragma once

#include <string>
#include <vector>

namespace halfpipe::data {

/// Tokens of a vocabulary: far above any tokenizer, and low enough that a table of its rows has a
/// size at all.
inline constexpr int kMaxVocabSize = 1 << 24;

/// Exactly one of `text` and (`train_shards`, `validation_shards`) is given.
struct DataConfig {
  std::vector<std::string> text;     // files, folders or globs of plain text
  std::string train_shards;          // glob of token shards (llm.c or nanoGPT files)
  std::string validation_shards;     // glob of token shards
  std::string vocabulary = "bytes";  // bytes | characters | path of a vocabulary file
  double validation_fraction = 0.1;  // of the text, taken from its end

  friend bool operator==(const DataConfig&, const DataConfig&) = default;
};

}  // namespace halfpipe::data
