// SPDX-License-Identifier: Apache-2.0
// Code points from and to UTF-8 (RFC 3629).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace halfpipe::data {

inline constexpr char32_t kLastCodePoint = 0x10FFFF;
inline constexpr char32_t kReplacementCharacter = 0xFFFD;

struct CodePoint {
  char32_t value;
  std::size_t length;  // bytes
};

/// A Unicode scalar value: up to U+10FFFF and no surrogate.
[[nodiscard]] constexpr bool is_scalar_value(char32_t code_point) {
  return code_point < 0xD800 || (code_point > 0xDFFF && code_point <= kLastCodePoint);
}

/// The code point that begins at byte `at` < text.size(). Nothing where the bytes there are not
/// valid UTF-8: stray or missing continuation bytes, overlong forms, surrogates, values above
/// U+10FFFF.
[[nodiscard]] std::optional<CodePoint> decode_utf8(std::string_view text, std::size_t at);

/// Throws FileError: `source`, the byte at `at` and the rule, for text that had to be UTF-8.
[[noreturn]] void fail_not_utf8(std::string_view source, std::string_view text, std::size_t at);

/// Appends the UTF-8 form of a scalar value.
void append_utf8(char32_t code_point, std::string& text);

}  // namespace halfpipe::data
