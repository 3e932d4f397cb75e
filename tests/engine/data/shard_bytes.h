// SPDX-License-Identifier: Apache-2.0
// Token files as strings of bytes, valid or damaged on purpose.
#pragma once

#include "engine/data/token_shard.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace halfpipe::data {

template <typename Token>
std::string raw_bytes(const std::vector<Token>& tokens) {
  std::string bytes(tokens.size() * sizeof(Token), '\0');
  if (!tokens.empty()) std::memcpy(bytes.data(), tokens.data(), bytes.size());
  return bytes;
}

inline std::string shard_header(std::int32_t magic, std::int32_t version, std::int32_t num_tokens) {
  std::vector<std::int32_t> words(kShardHeaderWords, 0);
  words[0] = magic;
  words[1] = version;
  words[2] = num_tokens;
  return raw_bytes(words);
}

inline std::string shard16(const std::vector<std::uint16_t>& tokens) {
  return shard_header(20240520, 1, static_cast<std::int32_t>(tokens.size())) + raw_bytes(tokens);
}

inline std::string shard32(const std::vector<std::uint32_t>& tokens) {
  return shard_header(20240801, 7, static_cast<std::int32_t>(tokens.size())) + raw_bytes(tokens);
}

}  // namespace halfpipe::data
