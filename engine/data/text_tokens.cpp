// SPDX-License-Identifier: Apache-2.0
// Collecting characters and encoding files.
#include "engine/data/text_tokens.h"

#include "engine/data/utf8.h"
#include "engine/files/mapped_file.h"
#include "kernels/core/error.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

namespace halfpipe::data {

namespace {

template <typename Token>
bool fits(const Vocabulary& vocabulary) {
  return vocabulary.size() - 1 <= std::int64_t{std::numeric_limits<Token>::max()};
}

template <typename Token>
std::vector<Token> encode_as(const Vocabulary& vocabulary, std::span<const std::string> files) {
  std::vector<Token> tokens;
  for (const std::string& path : files) {
    const files::MappedFile file(path);
    vocabulary.append_encoded(file.text(), path, tokens);
  }
  return tokens;
}

}  // namespace

Vocabulary characters_of_files(std::span<const std::string> files) {
  std::vector<bool> seen(kLastCodePoint + 1, false);
  for (const std::string& path : files) {
    const files::MappedFile file(path);
    const std::string_view text = file.text();
    for (std::size_t at = 0; at < text.size();) {
      const auto code_point = decode_utf8(text, at);
      if (!code_point) fail_not_utf8(path, text, at);
      seen[code_point->value] = true;
      at += code_point->length;
    }
  }
  std::vector<char32_t> characters;
  for (char32_t value = 0; value <= kLastCodePoint; ++value) {
    if (seen[value]) characters.push_back(value);
  }
  if (characters.empty()) {
    throw FileError(
        fmt::format("{}: no characters in {} file(s); a character vocabulary needs at least one",
                    files.empty() ? "data.text" : files.front(), files.size()));
  }
  return Vocabulary::characters(std::move(characters));
}

TokenVector encode_files(const Vocabulary& vocabulary, std::span<const std::string> files) {
  if (fits<std::uint8_t>(vocabulary)) return encode_as<std::uint8_t>(vocabulary, files);
  if (fits<std::uint16_t>(vocabulary)) return encode_as<std::uint16_t>(vocabulary, files);
  return encode_as<std::uint32_t>(vocabulary, files);
}

}  // namespace halfpipe::data
