// SPDX-License-Identifier: Apache-2.0
// Vocabulary: encoding, decoding and its JSON form.
#include "engine/data/vocabulary.h"

#include "engine/data/data_config.h"
#include "engine/data/utf8.h"
#include "engine/files/mapped_file.h"
#include "kernels/core/error.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace halfpipe::data {

namespace {

constexpr std::string_view kFormat = "halfpipe-vocabulary";

std::string_view name_of(Vocabulary::Kind kind) {
  switch (kind) {
    case Vocabulary::Kind::kBytes:
      return "bytes";
    case Vocabulary::Kind::kCharacters:
      return "characters";
    case Vocabulary::Kind::kNone:
      return "none";
  }
  fail_check("kind", "not a kind of vocabulary");
}

[[noreturn]] void fail_no_text(std::string_view source) {
  throw FileError(fmt::format(
      "{}: this vocabulary has no text (it comes from token shards without a {}); token ids "
      "cannot become text nor text token ids",
      source, kVocabularyFile));
}

}  // namespace

Vocabulary Vocabulary::bytes() {
  return {Kind::kBytes, 256};
}

Vocabulary Vocabulary::characters(std::vector<char32_t> characters) {
  HALFPIPE_CHECK(!characters.empty(), "a vocabulary has at least one character");
  HALFPIPE_CHECK(std::all_of(characters.begin(), characters.end(), is_scalar_value),
                 "characters are scalar values");
  Vocabulary vocabulary(Kind::kCharacters, static_cast<int>(characters.size()));
  vocabulary.token_of_.assign(
      *std::max_element(characters.begin(), characters.end()) + std::size_t{1}, -1);
  for (std::size_t token = 0; token < characters.size(); ++token) {
    std::int32_t& entry = vocabulary.token_of_[characters[token]];
    HALFPIPE_CHECK(entry < 0, "characters are distinct");
    entry = static_cast<std::int32_t>(token);
  }
  vocabulary.characters_ = std::move(characters);
  return vocabulary;
}

Vocabulary Vocabulary::without_text(int size) {
  HALFPIPE_CHECK(size > 0, "a vocabulary has at least one token");
  return {Kind::kNone, size};
}

template <typename Token>
void Vocabulary::append_encoded(std::string_view text,
                                std::string_view source,
                                std::vector<Token>& tokens) const {
  if (kind_ == Kind::kNone) fail_no_text(source);
  if (kind_ == Kind::kBytes) {
    const auto* first = reinterpret_cast<const unsigned char*>(text.data());
    tokens.insert(tokens.end(), first, first + text.size());
    return;
  }
  for (std::size_t at = 0; at < text.size();) {
    const auto code_point = decode_utf8(text, at);
    if (!code_point) fail_not_utf8(source, text, at);
    if (!has_character(code_point->value)) {
      throw FileError(fmt::format(
          "{}: the character U+{:04X} ({}) at byte {} is not in the vocabulary", source,
          static_cast<std::uint32_t>(code_point->value), text.substr(at, code_point->length), at));
    }
    tokens.push_back(static_cast<Token>(token_of_[code_point->value]));
    at += code_point->length;
  }
}

template void Vocabulary::append_encoded(std::string_view,
                                         std::string_view,
                                         std::vector<std::uint8_t>&) const;
template void Vocabulary::append_encoded(std::string_view,
                                         std::string_view,
                                         std::vector<std::uint16_t>&) const;
template void Vocabulary::append_encoded(std::string_view,
                                         std::string_view,
                                         std::vector<std::uint32_t>&) const;
template void Vocabulary::append_encoded(std::string_view,
                                         std::string_view,
                                         std::vector<std::int32_t>&) const;

std::vector<std::int32_t> Vocabulary::encode(std::string_view text, std::string_view source) const {
  std::vector<std::int32_t> tokens;
  append_encoded(text, source, tokens);
  return tokens;
}

std::string Vocabulary::decode(std::span<const std::int32_t> tokens) const {
  if (kind_ == Kind::kNone) fail_no_text("decode");
  std::string text;
  text.reserve(tokens.size());
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= size_) {
      append_utf8(kReplacementCharacter, text);
    } else if (kind_ == Kind::kBytes) {
      text.push_back(static_cast<char>(static_cast<unsigned char>(token)));
    } else {
      append_utf8(characters_[static_cast<std::size_t>(token)], text);
    }
  }
  return text;
}

bool Vocabulary::has_character(char32_t character) const noexcept {
  if (kind_ == Kind::kBytes) return true;  // as its UTF-8 bytes
  return character < token_of_.size() && token_of_[character] >= 0;
}

nlohmann::json Vocabulary::to_json() const {
  nlohmann::json json{{"format", kFormat}, {"kind", name_of(kind_)}, {"size", size_}};
  if (kind_ == Kind::kCharacters) {
    auto list = nlohmann::json::array();
    for (const char32_t character : characters_) {
      std::string text;
      append_utf8(character, text);
      list.push_back(std::move(text));
    }
    json["characters"] = std::move(list);
  }
  return json;
}

namespace {

// A member of the wanted type, or nothing.
template <typename Value>
std::optional<Value> member(const nlohmann::json& json, const char* key) {
  const auto it = json.find(key);
  if (it == json.end()) return std::nullopt;
  if constexpr (std::is_same_v<Value, std::string>) {
    if (!it->is_string()) return std::nullopt;
  } else {
    if (!it->is_number_integer()) return std::nullopt;
  }
  return it->template get<Value>();
}

std::vector<char32_t> read_characters(const nlohmann::json& json, std::string_view source) {
  const auto list = json.find("characters");
  if (list == json.end() || !list->is_array() || list->empty()) {
    throw FileError(
        fmt::format("{}: \"characters\" must be a list of at least one character", source));
  }
  std::vector<char32_t> characters;
  std::vector<bool> seen(kLastCodePoint + 1, false);
  for (const auto& entry : *list) {
    const std::string text = entry.is_string() ? entry.get<std::string>() : std::string();
    const auto code_point = text.empty() ? std::nullopt : decode_utf8(text, 0);
    if (!code_point || code_point->length != text.size() || seen[code_point->value]) {
      throw FileError(
          fmt::format("{}: \"characters\"[{}] must be one character that is not yet in the list",
                      source, characters.size()));
    }
    seen[code_point->value] = true;
    characters.push_back(code_point->value);
  }
  return characters;
}

Vocabulary of_kind(std::string_view kind,
                   std::int64_t size,
                   const nlohmann::json& json,
                   std::string_view source) {
  if (kind == "bytes") return Vocabulary::bytes();
  if (kind == "characters") return Vocabulary::characters(read_characters(json, source));
  if (kind == "none") return Vocabulary::without_text(static_cast<int>(size));
  throw FileError(
      fmt::format("{}: \"kind\" (\"{}\") must be bytes, characters or none", source, kind));
}

}  // namespace

Vocabulary Vocabulary::from_json(const nlohmann::json& json, std::string_view source) {
  if (!json.is_object() || member<std::string>(json, "format") != kFormat) {
    throw FileError(
        fmt::format("{}: must be a JSON object with \"format\": \"{}\"", source, kFormat));
  }
  const auto size = member<std::int64_t>(json, "size").value_or(0);
  if (size < 1 || size > kMaxVocabSize) {
    throw FileError(
        fmt::format("{}: \"size\" must be a whole number from 1 to {}", source, kMaxVocabSize));
  }
  Vocabulary vocabulary =
      of_kind(member<std::string>(json, "kind").value_or(""), size, json, source);
  if (vocabulary.size() != size) {
    throw FileError(fmt::format("{}: \"size\" ({}) must be the number of tokens ({})", source, size,
                                vocabulary.size()));
  }
  return vocabulary;
}

Vocabulary Vocabulary::read(const std::string& path) {
  const files::MappedFile file(path);
  const auto json = nlohmann::json::parse(file.text(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) throw FileError(fmt::format("{}: is not valid JSON", path));
  return from_json(json, path);
}

}  // namespace halfpipe::data
