// SPDX-License-Identifier: Apache-2.0
// Text to token ids and back. Built in, so that a run needs no tokenizer files: bytes, or the
// characters of a text. It travels as `vocabulary.json` with token shards and in checkpoints.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace halfpipe::data {

/// Its name in a checkpoint or beside token shards.
inline constexpr std::string_view kVocabularyFile = "vocabulary.json";

class Vocabulary {
 public:
  enum class Kind : std::uint8_t {
    kBytes,       // 256 tokens, one per byte value; any file is a text
    kCharacters,  // one token per Unicode character of a list; texts are UTF-8
    kNone,        // ids of an unknown tokenizer: a size, but no way to text
  };

  /// Token id = byte value.
  [[nodiscard]] static Vocabulary bytes();
  /// Token id = position in `characters`, which are distinct Unicode scalar values, at least one.
  [[nodiscard]] static Vocabulary characters(std::vector<char32_t> characters);
  /// Ids 0 .. size-1 without text.
  [[nodiscard]] static Vocabulary without_text(int size);

  /// Inverse of to_json(). Throws FileError that names `source` (the file it came from) and the
  /// rule.
  [[nodiscard]] static Vocabulary from_json(const nlohmann::json& json, std::string_view source);
  /// Reads a file written from to_json(). Throws FileError.
  [[nodiscard]] static Vocabulary read(const std::string& path);

  /// Throws FileError that names `source` (a file, or "prompt"), the byte offset and the character
  /// where `text` is not UTF-8 or holds a character that is not in the vocabulary (kCharacters),
  /// and for kNone always.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text,
                                                 std::string_view source = "text") const;

  /// The same, appended to `tokens`. Token is uint8, uint16, uint32 or int32; size() - 1 must fit.
  template <typename Token>
  void append_encoded(std::string_view text,
                      std::string_view source,
                      std::vector<Token>& tokens) const;

  /// Text of `tokens`. A token outside the vocabulary (a model may have more ids than its
  /// vocabulary) reads as U+FFFD. Throws FileError for kNone.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> tokens) const;

  /// {"format": "halfpipe-vocabulary", "kind": "bytes" | "characters" | "none", "size": V,
  ///  "characters": ["\n", " ", ...]  (kCharacters only)}
  [[nodiscard]] nlohmann::json to_json() const;

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] int size() const noexcept { return size_; }  // V
  /// Whether encode() knows it. False for kNone.
  [[nodiscard]] bool has_character(char32_t character) const noexcept;
  [[nodiscard]] bool has_text() const noexcept { return kind_ != Kind::kNone; }

  friend bool operator==(const Vocabulary&, const Vocabulary&) = default;

 private:
  Vocabulary(Kind kind, int size) : kind_(kind), size_(size) {}

  Kind kind_;
  int size_;
  std::vector<char32_t> characters_;    // [V], kCharacters only
  std::vector<std::int32_t> token_of_;  // [largest character + 1], -1 = not in the vocabulary
};

}  // namespace halfpipe::data
