// SPDX-License-Identifier: Apache-2.0
// Draws the next token from logits.
#pragma once

#include <cstdint>
#include <span>

namespace halfpipe::model {

struct Sampling {
  double temperature;  // 0: the likeliest token
  int top_k;           // 0: no limit
  int num_choices;     // only tokens below this are drawn: a model may have more ids than its
                       // vocabulary
  std::uint64_t seed;
};

/// A token with probability softmax(logits / temperature) among the allowed ones; ties of the
/// likeliest go to the lowest id. `position` numbers the draws: the same (seed, position, logits)
/// give the same token.
[[nodiscard]] std::int32_t sample_token(std::span<const float> logits,
                                        const Sampling& sampling,
                                        std::uint64_t position);

}  // namespace halfpipe::model
