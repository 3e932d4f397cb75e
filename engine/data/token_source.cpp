// SPDX-License-Identifier: Apache-2.0
// The two kinds of TokenSource, in memory and in shards, and the scan for the largest token.
#include "engine/data/token_source.h"

#include "kernels/core/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace halfpipe::data {

namespace {

void check_range(std::int64_t first, std::span<std::int32_t> out, std::int64_t size) {
  HALFPIPE_CHECK(first >= 0 && static_cast<std::int64_t>(out.size()) <= size - first,
                 fmt::format("tokens {} .. {} of {}", first,
                             first + static_cast<std::int64_t>(out.size()), size));
}

template <typename Token>
class MemorySource final : public TokenSource {
 public:
  MemorySource(std::vector<Token> tokens, std::string label)
      : tokens_(std::move(tokens)), label_(std::move(label)) {
    HALFPIPE_CHECK(!tokens_.empty(), "a token source is not empty");
  }

  [[nodiscard]] std::int64_t size() const override {
    return static_cast<std::int64_t>(tokens_.size());
  }
  void read(std::int64_t first, std::span<std::int32_t> out) const override {
    check_range(first, out, size());
    std::transform(tokens_.begin() + first,
                   tokens_.begin() + first + static_cast<std::int64_t>(out.size()), out.begin(),
                   [](Token token) { return static_cast<std::int32_t>(token); });
  }
  [[nodiscard]] std::string describe(std::int64_t position) const override {
    return fmt::format("token {} of {}", position, label_);
  }

 private:
  std::vector<Token> tokens_;
  std::string label_;
};

class ShardSource final : public TokenSource {
 public:
  explicit ShardSource(std::vector<TokenShard> shards) : shards_(std::move(shards)) {
    HALFPIPE_CHECK(!shards_.empty(), "a token source has at least one shard");
    for (const TokenShard& shard : shards_) ends_.push_back(size() + shard.size());
  }

  [[nodiscard]] std::int64_t size() const override { return ends_.empty() ? 0 : ends_.back(); }
  void read(std::int64_t first, std::span<std::int32_t> out) const override {
    check_range(first, out, size());
    while (!out.empty()) {
      const auto [shard, position] = find(first);
      const auto count =
          std::min<std::int64_t>(shard->size() - position, static_cast<std::int64_t>(out.size()));
      shard->read(position, out.first(static_cast<std::size_t>(count)));
      out = out.subspan(static_cast<std::size_t>(count));
      first += count;
    }
  }
  [[nodiscard]] std::string describe(std::int64_t position) const override {
    const auto [shard, position_in_shard] = find(position);
    return fmt::format("token {} of {}", position_in_shard, shard->path());
  }

 private:
  // The shard that holds token `position`, and the token's place in it.
  [[nodiscard]] std::pair<const TokenShard*, std::int64_t> find(std::int64_t position) const {
    const auto end = std::upper_bound(ends_.begin(), ends_.end(), position);
    const TokenShard& shard = shards_[static_cast<std::size_t>(end - ends_.begin())];
    return {&shard, position - (*end - shard.size())};
  }

  std::vector<TokenShard> shards_;
  std::vector<std::int64_t> ends_;  // running sums of the shards' sizes
};

// Ids are compared as unsigned: read() delivers the low 32 bits.
TokenSource::Largest scan(const TokenSource& source) {
  constexpr std::int64_t kTokensAtOnce = std::int64_t{1}
                                         << 16U;  // 256 KiB, stays in the second-level cache
  std::vector<std::int32_t> buffer(
      static_cast<std::size_t>(std::min(kTokensAtOnce, source.size())));
  TokenSource::Largest largest{-1, -1};
  for (std::int64_t first = 0; first < source.size(); first += kTokensAtOnce) {
    const auto count = static_cast<std::size_t>(std::min(kTokensAtOnce, source.size() - first));
    const std::span<std::int32_t> tokens(buffer.data(), count);
    source.read(first, tokens);
    std::uint32_t highest = 0;
    for (const std::int32_t token : tokens)
      highest = std::max(highest, static_cast<std::uint32_t>(token));
    if (highest <= largest.token) continue;
    const auto found = std::find(tokens.begin(), tokens.end(), static_cast<std::int32_t>(highest));
    largest = {highest, first + (found - tokens.begin())};
  }
  return largest;
}

}  // namespace

TokenSource::Largest TokenSource::largest() const {
  std::call_once(scanned_, [this] { largest_ = scan(*this); });
  return largest_;
}

std::unique_ptr<TokenSource> tokens_in_memory(std::vector<std::uint8_t> tokens, std::string label) {
  return std::make_unique<MemorySource<std::uint8_t>>(std::move(tokens), std::move(label));
}

std::unique_ptr<TokenSource> tokens_in_memory(std::vector<std::uint16_t> tokens,
                                              std::string label) {
  return std::make_unique<MemorySource<std::uint16_t>>(std::move(tokens), std::move(label));
}

std::unique_ptr<TokenSource> tokens_in_memory(std::vector<std::uint32_t> tokens,
                                              std::string label) {
  return std::make_unique<MemorySource<std::uint32_t>>(std::move(tokens), std::move(label));
}

std::unique_ptr<TokenSource> tokens_in_shards(std::vector<TokenShard> shards) {
  return std::make_unique<ShardSource>(std::move(shards));
}

void check_tokens(const TokenSource& source, std::int64_t vocab_size) {
  const auto [token, position] = source.largest();
  if (token < vocab_size) return;
  throw FileError(fmt::format("{} has id {}; every token id must be below model.vocab_size ({})",
                              source.describe(position), token, vocab_size));
}

}  // namespace halfpipe::data
