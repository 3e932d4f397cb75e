// SPDX-License-Identifier: Apache-2.0
// Token sources: memory of every width, shards joined, the largest token.
#include "engine/data/token_source.h"

#include "kernels/core/error.h"
#include "kernels/core/philox.h"
#include "tests/engine/data/shard_bytes.h"
#include "tests/engine/files/temporary_folder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace halfpipe::data {
namespace {

using files::expect_error;
using files::TemporaryFolder;

using Tokens = std::vector<std::int32_t>;

Tokens part(const TokenSource& source, std::int64_t first, std::int64_t count) {
  Tokens tokens(static_cast<std::size_t>(count));
  source.read(first, tokens);
  return tokens;
}

TEST(TokensInMemory, ReadInEveryWidth) {
  EXPECT_EQ(part(*tokens_in_memory(std::vector<std::uint8_t>{1, 255, 3}, "t"), 0, 3),
            (Tokens{1, 255, 3}));
  EXPECT_EQ(part(*tokens_in_memory(std::vector<std::uint16_t>{1, 65535, 3}, "t"), 1, 2),
            (Tokens{65535, 3}));
  EXPECT_EQ(part(*tokens_in_memory(std::vector<std::uint32_t>{1, 70000, 3}, "t"), 1, 1),
            (Tokens{70000}));
}

TEST(TokensInMemory, RefuseReadsBeyondTheEnd) {
  const auto source = tokens_in_memory(std::vector<std::uint8_t>{1, 2, 3}, "t");
  EXPECT_EQ(source->size(), 3);
  EXPECT_EQ(part(*source, 3, 0), Tokens{});
  EXPECT_THROW((void)part(*source, 2, 2), InternalError);
  EXPECT_THROW((void)part(*source, -1, 1), InternalError);
  EXPECT_THROW((void)tokens_in_memory(std::vector<std::uint8_t>{}, "t"), InternalError);
}

TEST(TokensInShards, AreOneSequenceWhateverTheCuts) {
  const TemporaryFolder folder;
  std::vector<TokenShard> shards;
  Tokens expected;
  for (std::uint32_t shard = 0; shard < 7; ++shard) {
    std::vector<std::uint16_t> narrow;
    std::vector<std::uint32_t> wide;
    for (std::uint32_t i = 0; i < 1 + philox(shard, 0)[0] % 40; ++i) {
      narrow.push_back(static_cast<std::uint16_t>(philox(shard, i, 1)[0]));
      wide.push_back(narrow.back());
      expected.push_back(narrow.back());
    }
    const std::string content = shard % 3 == 0   ? shard16(narrow)
                                : shard % 3 == 1 ? shard32(wide)
                                                 : raw_bytes(narrow);
    shards.emplace_back(folder.write(fmt::format("s{}.bin", shard), content));
  }
  const auto source = tokens_in_shards(std::move(shards));
  const auto size = static_cast<std::int64_t>(expected.size());
  ASSERT_EQ(source->size(), size);
  for (std::int64_t first = 0; first <= size; ++first) {
    for (const std::int64_t count :
         {std::int64_t{0}, std::int64_t{1}, std::int64_t{45}, size - first}) {
      if (first + count > size) continue;
      EXPECT_EQ(part(*source, first, count),
                Tokens(expected.begin() + first, expected.begin() + first + count));
    }
  }
  EXPECT_THROW((void)part(*source, size, 1), InternalError);
}

TEST(LargestToken, IsFoundAtItsFirstPlace) {
  std::vector<std::uint16_t> tokens(200'000, 7);
  tokens[150'001] = tokens[150'003] = tokens[199'999] = 900;
  const auto source = tokens_in_memory(std::move(tokens), "t");
  EXPECT_EQ(source->largest().token, 900);
  EXPECT_EQ(source->largest().position, 150'001);
}

TEST(CheckTokens, AcceptsWhatTheVocabularyHolds) {
  const auto source = tokens_in_memory(std::vector<std::uint8_t>{0, 64, 3}, "the training text");
  EXPECT_NO_THROW(check_tokens(*source, 65));
  EXPECT_NO_THROW(check_tokens(*tokens_in_memory(std::vector<std::uint8_t>{0}, "t"), 1));
}

TEST(CheckTokens, NamesTokenPlaceAndRule) {
  const auto source = tokens_in_memory(std::vector<std::uint8_t>{0, 64, 3}, "the training text");
  expect_error<FileError>([&] { check_tokens(*source, 64); },
                          {"token 1 of the training text", "id 64", "below model.vocab_size (64)"});
}

TEST(CheckTokens, NamesTheShard) {
  const TemporaryFolder folder;
  std::vector<TokenShard> shards;
  shards.emplace_back(folder.write("a.bin", shard16({1, 2, 3})));
  shards.emplace_back(folder.write("b.bin", shard16({4, 50300, 6})));
  const auto source = tokens_in_shards(std::move(shards));
  expect_error<FileError>([&] { check_tokens(*source, 50257); },
                          {"token 1 of " + folder.path("b.bin"), "50300"});
}

TEST(CheckTokens, RefusesIdsBeyondInt32) {
  const TemporaryFolder folder;
  std::vector<TokenShard> shards;
  shards.emplace_back(folder.write("a.bin", shard32({1, 4294967295U, 3})));
  const auto source = tokens_in_shards(std::move(shards));
  expect_error<FileError>([&] { check_tokens(*source, 128256); }, {"a.bin", "id 4294967295"});
}

}  // namespace
}  // namespace halfpipe::data
