// SPDX-License-Identifier: Apache-2.0
// Text files as one sequence of tokens in memory.
#pragma once

#include "engine/data/vocabulary.h"

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace halfpipe::data {

/// Tokens in the narrowest type that takes a vocabulary.
using TokenVector =
    std::variant<std::vector<std::uint8_t>, std::vector<std::uint16_t>, std::vector<std::uint32_t>>;

/// The set of characters in `files`, sorted by code point. Throws FileError that names the file and
/// the byte where a file is not UTF-8, and where all of them are empty.
[[nodiscard]] Vocabulary characters_of_files(std::span<const std::string> files);

/// Every file encoded, one after the other with nothing between. Throws FileError as
/// Vocabulary::encode does.
[[nodiscard]] TokenVector encode_files(const Vocabulary& vocabulary,
                                       std::span<const std::string> files);

}  // namespace halfpipe::data
