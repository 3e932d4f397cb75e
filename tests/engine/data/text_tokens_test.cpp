// SPDX-License-Identifier: Apache-2.0
// Text files as tokens.
#include "engine/data/text_tokens.h"

#include "engine/data/utf8.h"
#include "kernels/core/error.h"
#include "tests/engine/files/temporary_folder.h"

#include <gtest/gtest.h>

namespace halfpipe::data {
namespace {

using files::expect_error;
using files::TemporaryFolder;

using Files = std::vector<std::string>;

TEST(TextTokens, FilesAreJoinedWithNothingBetween) {
  const TemporaryFolder folder;
  const Files files{folder.write("a", "ab"), folder.write("b", ""), folder.write("c", "\xFF")};
  const auto tokens = std::get<std::vector<std::uint8_t>>(encode_files(Vocabulary::bytes(), files));
  EXPECT_EQ(tokens, (std::vector<std::uint8_t>{97, 98, 255}));
}

TEST(TextTokens, CharactersAreSortedByCodePoint) {
  const TemporaryFolder folder;
  const Files files{folder.write("a",
                                 "b\xC3\xA9"
                                 "a\n"),
                    folder.write("b", "\xF0\x9F\x98\x80z")};
  EXPECT_EQ(characters_of_files(files),
            Vocabulary::characters({U'\n', U'a', U'b', U'z', U'\u00E9', U'\U0001F600'}));
}

TEST(TextTokens, TheStorageFitsTheVocabulary) {
  const TemporaryFolder folder;
  std::string text;
  for (char32_t value = 0x4E00; value < 0x4E00 + 257; ++value) append_utf8(value, text);
  const Files files{folder.write("a", text)};
  const Vocabulary vocabulary = characters_of_files(files);
  const auto tokens = std::get<std::vector<std::uint16_t>>(encode_files(vocabulary, files));
  EXPECT_EQ(tokens.size(), 257U);
  EXPECT_EQ(tokens.back(), 256);
}

TEST(TextTokens, MoreThan65536CharactersTakeFourBytes) {
  const TemporaryFolder folder;
  std::string text;
  for (char32_t value = 0x20000; value < 0x20000 + 65537; ++value) append_utf8(value, text);
  const Files files{folder.write("a", text)};
  const auto tokens =
      std::get<std::vector<std::uint32_t>>(encode_files(characters_of_files(files), files));
  EXPECT_EQ(tokens.back(), 65536U);
}

TEST(TextTokens, InvalidUtf8IsNamedWithFileAndOffset) {
  const TemporaryFolder folder;
  const Files files{folder.write("good", "ab"), folder.write("bad", "abc\xC3(")};
  expect_error<FileError>([&] { (void)characters_of_files(files); },
                          {folder.path("bad"), "byte 3", "0xc3", "UTF-8"});
  expect_error<FileError>(
      [&] {
        (void)encode_files(Vocabulary::characters({U'a', U'b', U'c'}), files);
      },
      {folder.path("bad"), "byte 3"});
}

TEST(TextTokens, NoCharactersMakeNoVocabulary) {
  const TemporaryFolder folder;
  const Files files{folder.write("a", "")};
  expect_error<FileError>([&] { (void)characters_of_files(files); },
                          {folder.path("a"), "no characters"});
}

}  // namespace
}  // namespace halfpipe::data
