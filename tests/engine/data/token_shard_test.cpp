// SPDX-License-Identifier: Apache-2.0
// Token files: the three formats, every damage refused by name, random bytes survived.
#include "engine/data/token_shard.h"

#include "kernels/core/error.h"
#include "kernels/core/philox.h"
#include "tests/engine/data/all_tokens.h"
#include "tests/engine/data/shard_bytes.h"
#include "tests/engine/files/temporary_folder.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace halfpipe::data {
namespace {

using files::expect_error;
using files::TemporaryFolder;

TEST(TokenShard, ReadsSixteenBitTokens) {
  const TemporaryFolder folder;
  const TokenShard shard(folder.write("a.bin", shard16({1, 50256, 65535, 0})));
  EXPECT_EQ(shard.bytes_per_token(), 2);
  EXPECT_EQ(all_tokens(shard), (Tokens{1, 50256, 65535, 0}));
}

TEST(TokenShard, ReadsThirtyTwoBitTokens) {
  const TemporaryFolder folder;
  const TokenShard shard(folder.write("a.bin", shard32({1, 128255, 2147483647})));
  EXPECT_EQ(shard.bytes_per_token(), 4);
  EXPECT_EQ(all_tokens(shard), (Tokens{1, 128255, 2147483647}));
}

TEST(TokenShard, ReadsRawTokens) {
  const TemporaryFolder folder;
  const std::vector<std::uint16_t> tokens{5};
  EXPECT_EQ(all_tokens(TokenShard(folder.write("one.bin", raw_bytes(tokens)))), Tokens{5});
  const std::vector<std::uint16_t> many(2000, 50256);
  EXPECT_EQ(TokenShard(folder.write("train.bin", raw_bytes(many))).size(), 2000);
}

TEST(TokenShard, ReadsAnyPart) {
  const TemporaryFolder folder;
  const TokenShard shard(folder.write("a.bin", shard16({10, 11, 12, 13})));
  Tokens part(2);
  shard.read(1, part);
  EXPECT_EQ(part, (Tokens{11, 12}));
  shard.read(4, {});
  EXPECT_THROW(shard.read(3, part), InternalError);
  EXPECT_THROW(shard.read(-1, part), InternalError);
}

struct Damage {
  std::string_view name;
  std::string content;
  std::string_view message;
};

class DamagedShard : public testing::TestWithParam<Damage> {};

TEST_P(DamagedShard, IsRefusedByName) {
  const TemporaryFolder folder;
  const std::string path = folder.write(GetParam().name, GetParam().content);
  expect_error<FileError>([&] { const TokenShard shard(path); }, {path, GetParam().message});
}

std::string without_last(std::string bytes, std::size_t count) {
  bytes.resize(bytes.size() - count);
  return bytes;
}

INSTANTIATE_TEST_SUITE_P(
    Damages,
    DamagedShard,
    testing::Values(
        Damage{"empty.bin", "", "empty"},
        Damage{"odd.bin", "abc", "even"},
        Damage{"text.txt", "To be, or not to be", "named .bin"},
        Damage{"magic.bin", shard_header(20240521, 1, 2) + raw_bytes<std::uint16_t>({1, 2}),
               "magic 20240521"},
        Damage{"magic.bin", shard_header(1234567, 1, 2) + raw_bytes<std::uint16_t>({1, 2}),
               "magic 1234567"},
        Damage{"magic.bin", shard_header(1234567, 7, 1) + raw_bytes<std::uint32_t>({1}),
               "magic 1234567"},
        Damage{"version.bin", shard_header(20240520, 7, 1) + raw_bytes<std::uint16_t>({1}),
               "version 7"},
        Damage{"version.bin", shard_header(20240801, 1, 1) + raw_bytes<std::uint32_t>({1}),
               "version 1"},
        Damage{"count.bin", shard_header(20240520, 1, 0), "token count in the header (0)"},
        Damage{"count.bin", shard_header(20240520, 1, -5) + "ab", "token count in the header (-5)"},
        Damage{"short.bin", without_last(shard16({1, 2, 3}), 2), "1028 bytes"},
        Damage{"short.bin", without_last(shard16({1, 2, 3}), 1), "1029 bytes"},
        Damage{"short.bin", without_last(shard32({1, 2, 3}), 4), "1032 bytes"},
        Damage{"long.bin", shard16({1, 2, 3}) + "xx", "1032 bytes"},
        Damage{"width.bin", shard_header(20240801, 7, 2) + raw_bytes<std::uint16_t>({1, 2}),
               "4 bytes"},
        Damage{"header.bin", shard_header(20240520, 1, 3).substr(0, 1000), "fewer than the header"},
        Damage{"header.bin", shard_header(20240520, 1, 3).substr(0, 8), "fewer than the header"},
        Damage{"header.bin", shard_header(20240520, 1, 3).substr(0, 4), "version 0"}));

// Random bytes, random sizes, half of them behind a header that is right or nearly so: refused with
// a FileError or readable to the last token, never a crash. AddressSanitizer watches the reads.
TEST(TokenShard, SurvivesRandomBytes) {
  const TemporaryFolder folder;
  for (std::uint64_t trial = 0; trial < 2000; ++trial) {
    const auto draw = philox(trial, 0);
    std::string content = draw[0] % 4 == 0   ? shard16({})
                          : draw[0] % 4 == 1 ? shard32({})
                                             : std::string();
    for (std::uint32_t i = 0; i < draw[1] % 64; ++i)
      content.push_back(static_cast<char>(philox(trial, 1, i)[0]));
    // A count near the truth, and one damaged byte somewhere.
    if (content.size() >= 1024) content[8] = static_cast<char>(draw[2] % 34);
    if (!content.empty() && draw[0] % 3 == 0)
      content[draw[3] % content.size()] ^= static_cast<char>(draw[2]);
    const std::string path = folder.write("fuzz.bin", content);
    try {
      const TokenShard shard(path);
      EXPECT_EQ(all_tokens(shard).size(), static_cast<std::size_t>(shard.size()));
    } catch (const FileError& error) {
      EXPECT_NE(std::string_view(error.what()).find(path), std::string_view::npos);
    }
  }
}

}  // namespace
}  // namespace halfpipe::data
