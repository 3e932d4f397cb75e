// SPDX-License-Identifier: Apache-2.0
#include "engine/model/sample_token.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/core/philox.h"

namespace halfpipe::model {

std::int32_t sample_token(std::span<const float> logits,
                          const Sampling& sampling,
                          std::uint64_t position) {
  logits = logits.first(std::min(logits.size(), static_cast<std::size_t>(sampling.num_choices)));
  const auto likeliest = std::max_element(logits.begin(), logits.end());
  if (sampling.temperature == 0.0) return static_cast<std::int32_t>(likeliest - logits.begin());

  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  if (sampling.top_k > 0 && static_cast<std::size_t>(sampling.top_k) < order.size()) {
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
    });
    order.resize(static_cast<std::size_t>(sampling.top_k));
  }
  const double highest = *likeliest;
  std::vector<double> cumulative;
  double total = 0.0;
  for (const std::int32_t token : order) {
    total += std::exp((logits[static_cast<std::size_t>(token)] - highest) / sampling.temperature);
    cumulative.push_back(total);
  }
  const double draw = total * uniform_open(philox(sampling.seed, position)[0]);
  const auto chosen = std::lower_bound(cumulative.begin(), cumulative.end(), draw);
  const auto index = std::min<std::ptrdiff_t>(chosen - cumulative.begin(), std::ssize(order) - 1);
  return order[static_cast<std::size_t>(index)];
}

}  // namespace halfpipe::model
