// SPDX-License-Identifier: Apache-2.0
// UTF-8: every scalar value there and back, every kind of damage refused.
#include "engine/data/utf8.h"

#include "kernels/core/error.h"

#include <gtest/gtest.h>

namespace halfpipe::data {
namespace {

TEST(Utf8, EveryScalarValueComesBack) {
  for (char32_t value = 0; value <= kLastCodePoint; ++value) {
    if (!is_scalar_value(value)) continue;
    std::string text;
    append_utf8(value, text);
    const auto decoded = decode_utf8(text, 0);
    ASSERT_TRUE(decoded) << static_cast<std::uint32_t>(value);
    ASSERT_EQ(decoded->value, value);
    ASSERT_EQ(decoded->length, text.size());
  }
}

TEST(Utf8, KnownForms) {
  EXPECT_EQ(decode_utf8("a", 0)->value, U'a');
  EXPECT_EQ(decode_utf8("\xC3\xA9", 0)->value, U'\u00E9');
  EXPECT_EQ(decode_utf8("x\xE2\x82\xAC", 1)->value, U'\u20AC');
  EXPECT_EQ(decode_utf8("\xF0\x9F\x98\x80", 0)->value, U'\U0001F600');
}

class Invalid : public testing::TestWithParam<std::string_view> {};

TEST_P(Invalid, IsRefused) {
  EXPECT_FALSE(decode_utf8(GetParam(), 0));
}

INSTANTIATE_TEST_SUITE_P(Bytes,
                         Invalid,
                         testing::Values("\x80",              // stray continuation byte
                                         "\xC3",              // cut short
                                         "\xE2\x82",          // cut short
                                         "\xC3(",             // no continuation byte
                                         "\xC0\xAF",          // overlong
                                         "\xE0\x80\xAF",      // overlong
                                         "\xF0\x80\x80\xAF",  // overlong
                                         "\xED\xA0\x80",      // surrogate
                                         "\xF4\x90\x80\x80",  // U+110000
                                         "\xF8\x88\x80\x80\x80",
                                         "\xFE",
                                         "\xFF"));

TEST(Utf8, RefusesToWriteASurrogate) {
  std::string text;
  EXPECT_THROW(append_utf8(0xD800, text), InternalError);
}

}  // namespace
}  // namespace halfpipe::data
