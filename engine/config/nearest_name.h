// SPDX-License-Identifier: Apache-2.0
// "Did you mean ...?": the known name nearest to one that is not known.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace halfpipe::config {

/// Letters inserted, removed, replaced or swapped with their neighbour to turn a into b (optimal
/// string alignment: no letter is edited twice).
[[nodiscard]] int edit_distance(std::string_view a, std::string_view b);

/// The candidate with the smallest edit distance to `name`, the first of equals; nothing when even
/// that one differs in more than a third of its letters (one letter is always allowed).
[[nodiscard]] std::optional<std::string> nearest_name(std::string_view name,
                                                      std::span<const std::string> candidates);

}  // namespace halfpipe::config
