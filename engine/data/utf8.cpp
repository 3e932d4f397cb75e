// SPDX-License-Identifier: Apache-2.0
// UTF-8 by the table of RFC 3629, section 3.
#include "engine/data/utf8.h"

#include "kernels/core/error.h"

#include <fmt/format.h>

namespace halfpipe::data {

namespace {

// First byte of a form: how many bytes it has, which of its bits count, and the smallest value that
// needs the form.
struct Form {
  std::size_t length;
  unsigned lead_mask;
  char32_t smallest;
};

std::optional<Form> form_of(unsigned lead) {
  if (lead < 0x80) return Form{1, 0x7F, 0};
  if (lead < 0xC0) return std::nullopt;  // a continuation byte
  if (lead < 0xE0) return Form{2, 0x1F, 0x80};
  if (lead < 0xF0) return Form{3, 0x0F, 0x800};
  if (lead < 0xF8) return Form{4, 0x07, 0x10000};
  return std::nullopt;
}

}  // namespace

std::optional<CodePoint> decode_utf8(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return static_cast<unsigned>(static_cast<unsigned char>(text[i]));
  };
  const auto form = form_of(byte(at));
  if (!form || text.size() - at < form->length) return std::nullopt;
  char32_t value = byte(at) & form->lead_mask;
  for (std::size_t i = 1; i < form->length; ++i) {
    const unsigned next = byte(at + i);
    if ((next & 0xC0U) != 0x80U) return std::nullopt;
    value = (value << 6U) | (next & 0x3FU);
  }
  if (value < form->smallest || !is_scalar_value(value)) return std::nullopt;
  return CodePoint{value, form->length};
}

void fail_not_utf8(std::string_view source, std::string_view text, std::size_t at) {
  throw FileError(
      fmt::format("{}: byte {} (0x{:02x}) is not valid UTF-8; a character vocabulary needs UTF-8 "
                  "(data.vocabulary: "
                  "bytes takes any file)",
                  source, at, static_cast<unsigned char>(text[at])));
}

void append_utf8(char32_t code_point, std::string& text) {
  HALFPIPE_CHECK(is_scalar_value(code_point), "only scalar values have a UTF-8 form");
  const auto put = [&](char32_t byte) {
    text.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
  };
  const auto put_continuation = [&](unsigned shift) {
    put(0x80U | ((code_point >> shift) & 0x3FU));
  };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0U | (code_point >> 6U));
    put_continuation(0);
  } else if (code_point < 0x10000) {
    put(0xE0U | (code_point >> 12U));
    put_continuation(6);
    put_continuation(0);
  } else {
    put(0xF0U | (code_point >> 18U));
    put_continuation(12);
    put_continuation(6);
    put_continuation(0);
  }
}

}  // namespace halfpipe::data
