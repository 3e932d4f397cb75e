// SPDX-License-Identifier: Apache-2.0
// Places and kinds of values as they come out of the YAML parser; texts that are no YAML at all.
#include "engine/config/yaml_reader.h"

#include "kernels/core/error.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace halfpipe::config {
namespace {

using Kind = YamlValue::Kind;

TEST(YamlReader, KeepsTheLineOfEveryKey) {
  const YamlValue root = parse_yaml("a: 1\n\n# words\nb:\n  c: [x,\n      y]\n", {"f.yaml"});
  ASSERT_EQ(root.kind, Kind::kMap);
  ASSERT_EQ(root.held.size(), 2U);
  EXPECT_EQ(root.held[0].name, "a");
  EXPECT_EQ(root.held[0].place, "f.yaml:1");
  EXPECT_EQ(root.held[1].place, "f.yaml:4");
  const YamlValue& list = root.held[1].held.at(0);
  EXPECT_EQ(list.kind, Kind::kList);
  EXPECT_EQ(list.place, "f.yaml:5");
  EXPECT_EQ(list.held.at(1).place, "f.yaml:6");
}

TEST(YamlReader, TellsTextFromNull) {
  const YamlValue root =
      parse_yaml("[null, ~, 'null', \"\", Null, nil, 'two words']", {"f.yaml", false});
  ASSERT_EQ(root.held.size(), 7U);
  EXPECT_EQ(root.held[0].kind, Kind::kNull);
  EXPECT_EQ(root.held[1].kind, Kind::kNull);
  EXPECT_EQ(root.held[2].text, "null");
  EXPECT_TRUE(root.held[2].quoted);
  EXPECT_EQ(root.held[3].kind, Kind::kScalar);
  EXPECT_EQ(root.held[4].kind, Kind::kNull);
  EXPECT_EQ(root.held[5].text, "nil");
  EXPECT_FALSE(root.held[5].quoted);
  EXPECT_EQ(root.held[6].text, "two words");
  EXPECT_EQ(root.held[6].place, "f.yaml");
}

TEST(YamlReader, TakesAnEmptyTextAsNull) {
  for (const char* text : {"", "\n\n", "# only words\n", "---\n", "\xEF\xBB\xBF"}) {
    const YamlValue root = parse_yaml(text, {"f.yaml"});
    EXPECT_EQ(root.kind, Kind::kNull) << text;
    EXPECT_FALSE(root.place.empty());
  }
}

TEST(YamlReader, AcceptsWindowsLineEnds) {
  const YamlValue root = parse_yaml("a: 1\r\nb: 2\r\n", {"f.yaml"});
  EXPECT_EQ(root.held.at(1).text, "2");
  EXPECT_EQ(root.held.at(1).place, "f.yaml:2");
}

TEST(YamlReader, AllowsTabsThatDoNotIndent) {
  const YamlValue root = parse_yaml("a:\t1\t# one\nb: \"x\ty\"\n", {"f.yaml"});
  EXPECT_EQ(root.held.size(), 2U);
}

TEST(YamlReader, KnowsWhereQuotesEnd) {
  const YamlValue root = parse_yaml(
      "\xEF\xBB\xBF# don't\na: 'it''s \"x\"' # isn't\nb: \"a \\\" '\"\nc: Ann's \"d\ne: >-\n  one "
      "\"\n  "
      "two\n\"f\": ['', \"\\\\\"]",
      {"f.yaml"});
  ASSERT_EQ(root.held.size(), 5U);
  EXPECT_EQ(root.held[0].text, "it's \"x\"");
  EXPECT_EQ(root.held[1].text, "a \" '");
  EXPECT_EQ(root.held[2].text, "Ann's \"d");
  EXPECT_EQ(root.held[3].text, "one \" two");
  EXPECT_EQ(root.held[4].held.at(0).text, "");
  EXPECT_EQ(root.held[4].held.at(1).text, "\\");
}

TEST(YamlReader, ReadsManyKeysInTimeThatGrowsWithTheirNumber) {
  std::string text;
  for (int i = 0; i < 300000; ++i) text += fmt::format("k{}:\n", i);
  // Minutes, where every key is compared with every other.
  EXPECT_EQ(parse_yaml(text, {"f.yaml"}).held.size(), 300000U);
}

// Whatever bytes stand in the file, the answer is a tree or one ConfigError.
TEST(YamlReader, NeverFailsInAnotherWay) {
  const std::string alphabet = "ab:-[]{},\"'#&*!|>%@`?\n\t \r0\x01\x7F\xC3\xFF";
  std::uint32_t state = 12345;
  const auto next = [&state](std::size_t below) {  // xorshift
    state ^= state << 13U;
    state ^= state >> 17U;
    state ^= state << 5U;
    return state % below;
  };
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    const std::size_t length = next(40);
    for (std::size_t i = 0; i < length; ++i) text += alphabet[next(alphabet.size())];
    try {
      static_cast<void>(parse_yaml(text, {"f.yaml"}));
    } catch (const ConfigError& error) {
      EXPECT_EQ(std::string(error.what()).rfind("f.yaml", 0), 0U) << error.what();
    }
  }
}

TEST(YamlReader, RefusesDeepNestingInsteadOfExhaustingTheStack) {
  EXPECT_THROW(static_cast<void>(parse_yaml(std::string(100000, '['), {"f.yaml"})), ConfigError);
}

}  // namespace
}  // namespace halfpipe::config
