// SPDX-License-Identifier: Apache-2.0
#include "engine/config/nearest_name.h"

#include <algorithm>
#include <vector>

namespace halfpipe::config {

int edit_distance(std::string_view a, std::string_view b) {
  const std::size_t width = b.size() + 1;
  // distance[i][j]: from the first i letters of a to the first j of b. Rows i-2, i-1 and i.
  std::vector<int> before(width, 0);
  std::vector<int> previous(width, 0);
  std::vector<int> current(width, 0);
  for (std::size_t j = 0; j < width; ++j) previous[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    current[0] = static_cast<int>(i);
    for (std::size_t j = 1; j < width; ++j) {
      const int replaced = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      current[j] = std::min({replaced, previous[j] + 1, current[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) current[j] = std::min(current[j], before[j - 2] + 1);
    }
    std::swap(before, previous);
    std::swap(previous, current);
  }
  return previous[b.size()];
}

std::optional<std::string> nearest_name(std::string_view name,
                                        std::span<const std::string> candidates) {
  std::optional<std::string> nearest;
  int smallest = 0;
  for (const std::string& candidate : candidates) {
    const int distance = edit_distance(name, candidate);
    const int allowed = std::max(1, static_cast<int>(candidate.size() / 3));
    // One letter of a name of one would let anything match.
    if (distance > allowed || distance >= static_cast<int>(candidate.size())) continue;
    if (!nearest || distance < smallest) {
      nearest = candidate;
      smallest = distance;
    }
  }
  return nearest;
}

}  // namespace halfpipe::config
