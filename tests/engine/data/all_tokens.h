// SPDX-License-Identifier: Apache-2.0
// All tokens of a shard or of another source.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace halfpipe::data {

using Tokens = std::vector<std::int32_t>;

template <typename Source>
Tokens all_tokens(const Source& source) {
  Tokens tokens(static_cast<std::size_t>(source.size()));
  source.read(0, tokens);
  return tokens;
}

}  // namespace halfpipe::data
