// SPDX-License-Identifier: Apache-2.0
// One long sequence of token ids per split, wherever it is stored: what the sampler cuts training
// sequences from.
#pragma once

#include "engine/data/token_shard.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace halfpipe::data {

/// Reading is const and safe from several threads at once.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  TokenSource() = default;
  TokenSource(const TokenSource&) = delete;
  TokenSource& operator=(const TokenSource&) = delete;

  /// Tokens, at least one.
  [[nodiscard]] virtual std::int64_t size() const = 0;
  /// Copies tokens first .. first + out.size() - 1, which must exist. Ids beyond int32 (only
  /// possible in 32-bit shards) arrive as their low 32 bits; check_tokens() refuses them before
  /// training.
  virtual void read(std::int64_t first, std::span<std::int32_t> out) const = 0;
  /// Where a token lies, for messages: "token 17 of train_000001.bin".
  [[nodiscard]] virtual std::string describe(std::int64_t position) const = 0;

  struct Largest {
    std::int64_t token;
    std::int64_t position;  // of its first occurrence
  };
  /// The largest token id. Reads everything on the first call and remembers.
  [[nodiscard]] Largest largest() const;

 private:
  mutable std::once_flag scanned_;
  mutable Largest largest_{-1, -1};
};

/// Tokens held in memory, in the narrowest type that takes them. `label` is what describe() calls
/// them. The sequence must not be empty.
[[nodiscard]] std::unique_ptr<TokenSource> tokens_in_memory(std::vector<std::uint8_t> tokens,
                                                            std::string label);
[[nodiscard]] std::unique_ptr<TokenSource> tokens_in_memory(std::vector<std::uint16_t> tokens,
                                                            std::string label);
[[nodiscard]] std::unique_ptr<TokenSource> tokens_in_memory(std::vector<std::uint32_t> tokens,
                                                            std::string label);

/// Memory-mapped shards one after the other, in the order given (at least one).
[[nodiscard]] std::unique_ptr<TokenSource> tokens_in_shards(std::vector<TokenShard> shards);

/// Throws FileError that names the token, its place and the rule unless every token is in 0 ..
/// vocab_size - 1. To be called before training: a larger id would read beyond the embedding table.
void check_tokens(const TokenSource& source, std::int64_t vocab_size);

}  // namespace halfpipe::data
