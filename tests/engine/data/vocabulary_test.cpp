// SPDX-License-Identifier: Apache-2.0
// Vocabularies: text to tokens and back, the JSON form, every refusal.
#include "engine/data/vocabulary.h"

#include "engine/data/utf8.h"
#include "kernels/core/error.h"
#include "tests/engine/files/temporary_folder.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <numeric>

namespace halfpipe::data {
namespace {

using files::expect_error;
using files::TemporaryFolder;

using Tokens = std::vector<std::int32_t>;

std::string all_bytes() {
  std::string text(256, '\0');
  std::iota(text.begin(), text.end(), '\0');
  return text;
}

TEST(ByteVocabulary, IsTheIdentityOnBytes) {
  const Vocabulary vocabulary = Vocabulary::bytes();
  EXPECT_EQ(vocabulary.size(), 256);
  const Tokens tokens = vocabulary.encode(all_bytes());
  for (std::int32_t value = 0; value < 256; ++value)
    EXPECT_EQ(tokens[static_cast<std::size_t>(value)], value);
  EXPECT_EQ(vocabulary.decode(tokens), all_bytes());
}

TEST(CharacterVocabulary, NumbersCharactersByTheirPlace) {
  const Vocabulary vocabulary = Vocabulary::characters({U'\n', U'a', U'\u00E9', U'\U0001F600'});
  EXPECT_EQ(vocabulary.size(), 4);
  const std::string text =
      "a\xC3\xA9\n\xF0\x9F\x98\x80"
      "a";
  EXPECT_EQ(vocabulary.encode(text), (Tokens{1, 2, 0, 3, 1}));
  EXPECT_EQ(vocabulary.decode(vocabulary.encode(text)), text);
}

TEST(CharacterVocabulary, NamesSourcePlaceAndCharacterOfWhatItLacks) {
  const Vocabulary vocabulary = Vocabulary::characters({U'a', U'b'});
  expect_error<FileError>([&] { (void)vocabulary.encode("ab\xC3\xA9", "prompt"); },
                          {"prompt", "byte 2", "U+00E9", "\xC3\xA9", "not in the vocabulary"});
  expect_error<FileError>([&] { (void)vocabulary.encode("a\xFF", "x.txt"); },
                          {"x.txt", "byte 1", "0xff", "UTF-8"});
}

TEST(Vocabulary, AppendsInAnyWidth) {
  std::vector<std::uint16_t> tokens{7};
  Vocabulary::bytes().append_encoded("AB", "text", tokens);
  EXPECT_EQ(tokens, (std::vector<std::uint16_t>{7, 65, 66}));
}

TEST(Vocabulary, TokensBeyondItReadAsTheReplacementCharacter) {
  EXPECT_EQ(Vocabulary::bytes().decode(Tokens{65, 256, -1}), "A\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(Vocabulary::characters({U'x'}).decode(Tokens{0, 1}), "x\xEF\xBF\xBD");
}

TEST(Vocabulary, WithoutTextNeitherEncodesNorDecodes) {
  const Vocabulary vocabulary = Vocabulary::without_text(50257);
  EXPECT_EQ(vocabulary.size(), 50257);
  EXPECT_FALSE(vocabulary.has_text());
  EXPECT_THROW((void)vocabulary.encode("a"), FileError);
  EXPECT_THROW((void)vocabulary.decode(Tokens{1}), FileError);
}

TEST(Vocabulary, RefusesImpossibleOnes) {
  EXPECT_THROW((void)Vocabulary::characters({}), InternalError);
  EXPECT_THROW((void)Vocabulary::characters({U'a', U'a'}), InternalError);
  EXPECT_THROW((void)Vocabulary::characters({0xFFFFFFFF}), InternalError);
  EXPECT_THROW((void)Vocabulary::without_text(0), InternalError);
}

class EveryKind : public testing::TestWithParam<Vocabulary> {};

TEST_P(EveryKind, ComesBackFromItsFile) {
  const TemporaryFolder folder;
  const std::string path = folder.write("vocabulary.json", GetParam().to_json().dump());
  EXPECT_EQ(Vocabulary::read(path), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Kinds,
                         EveryKind,
                         testing::Values(Vocabulary::bytes(),
                                         Vocabulary::characters({U'\0', U'\n', U'"', U'\\',
                                                                 U'\u00E9', U'\U0010FFFF'}),
                                         Vocabulary::characters({U'z', U'a'}),
                                         Vocabulary::without_text(1000)));

struct BadFile {
  std::string_view content;
  std::string_view message;
};

class BadVocabularyFile : public testing::TestWithParam<BadFile> {};

TEST_P(BadVocabularyFile, IsRefusedByName) {
  const TemporaryFolder folder;
  const std::string path = folder.write("v.json", GetParam().content);
  expect_error<FileError>([&] { (void)Vocabulary::read(path); }, {path, GetParam().message});
}

INSTANTIATE_TEST_SUITE_P(
    Contents,
    BadVocabularyFile,
    testing::Values(
        BadFile{"", "JSON"},
        BadFile{"{", "JSON"},
        BadFile{"[]", "halfpipe-vocabulary"},
        BadFile{R"({"kind":"bytes","size":256})", "halfpipe-vocabulary"},
        BadFile{R"({"format":3,"kind":"bytes","size":256})", "halfpipe-vocabulary"},
        BadFile{R"({"format":"halfpipe-vocabulary","kind":"bytes"})", "size"},
        BadFile{R"({"format":"halfpipe-vocabulary","kind":"bytes","size":255})", "size"},
        BadFile{R"({"format":"halfpipe-vocabulary","kind":"bytes","size":-1})", "size"},
        BadFile{R"({"format":"halfpipe-vocabulary","kind":"none","size":2.5})", "size"},
        BadFile{R"({"format":"halfpipe-vocabulary","kind":"none","size":4294967296})", "size"},
        BadFile{R"({"format":"halfpipe-vocabulary","kind":"none","size":18446744073709551615})",
                "size"},
        BadFile{R"({"format":"halfpipe-vocabulary","kind":"bpe","size":2})", "kind"},
        BadFile{R"({"format":"halfpipe-vocabulary","kind":7,"size":2})", "kind"},
        BadFile{R"({"format":"halfpipe-vocabulary","kind":"characters","size":2})", "characters"},
        BadFile{R"({"format":"halfpipe-vocabulary","kind":"characters","size":2,"characters":[]})",
                "characters"},
        BadFile{
            R"({"format":"halfpipe-vocabulary","kind":"characters","size":2,"characters":["a",1]})",
            "[1]"},
        BadFile{
            R"({"format":"halfpipe-vocabulary","kind":"characters","size":2,"characters":["a","bc"]})",
            "[1]"},
        BadFile{
            R"({"format":"halfpipe-vocabulary","kind":"characters","size":2,"characters":["a",""]})",
            "[1]"},
        BadFile{
            R"({"format":"halfpipe-vocabulary","kind":"characters","size":2,"characters":["a","a"]})",
            "[1]"},
        BadFile{
            R"({"format":"halfpipe-vocabulary","kind":"characters","size":3,"characters":["a","b"]})",
            "size"}));

TEST(Vocabulary, KnowsItsCharacters) {
  const Vocabulary vocabulary = Vocabulary::characters({U'b', U'\u00e9'});
  EXPECT_TRUE(vocabulary.has_character(U'b'));
  EXPECT_TRUE(vocabulary.has_character(U'\u00e9'));
  EXPECT_FALSE(vocabulary.has_character(U'a'));
  EXPECT_FALSE(vocabulary.has_character(kLastCodePoint));
  EXPECT_TRUE(Vocabulary::bytes().has_character(kLastCodePoint));
  EXPECT_FALSE(Vocabulary::without_text(300).has_character(U'a'));
}

}  // namespace
}  // namespace halfpipe::data
