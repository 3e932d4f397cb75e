// SPDX-License-Identifier: Apache-2.0
// Datasets from text and from shards: splits, vocabularies, refusals.
#include "engine/data/dataset.h"

#include "kernels/core/error.h"
#include "tests/engine/data/all_tokens.h"
#include "tests/engine/data/shard_bytes.h"
#include "tests/engine/files/temporary_folder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <limits>

namespace halfpipe::data {
namespace {

using files::expect_error;
using files::TemporaryFolder;

DataConfig text_config(std::vector<std::string> text, double validation_fraction = 0.1) {
  DataConfig config;
  config.text = std::move(text);
  config.validation_fraction = validation_fraction;
  return config;
}

TEST(TextDataset, FilesAreJoinedInSortedOrderAndTheTailValidates) {
  const TemporaryFolder folder;
  folder.write("b.txt", "56789");
  folder.write("a.txt", "01234");
  const Dataset dataset = open_dataset(text_config({folder.path("*.txt")}, 0.3));
  EXPECT_EQ(dataset.vocabulary, Vocabulary::bytes());
  EXPECT_EQ(dataset.vocabulary.decode(all_tokens(*dataset.train)), "0123456");
  EXPECT_EQ(dataset.vocabulary.decode(all_tokens(*dataset.validation)), "789");
}

struct Split {
  std::int64_t num_tokens;
  double validation_fraction;
  std::int64_t num_train;
};

class SplitSizes : public testing::TestWithParam<Split> {};

TEST_P(SplitSizes, AreTheFloorOfTheTrainingFraction) {
  const TemporaryFolder folder;
  const std::string text(static_cast<std::size_t>(GetParam().num_tokens), 'x');
  const Dataset dataset =
      open_dataset(text_config({folder.write("a", text)}, GetParam().validation_fraction));
  EXPECT_EQ(dataset.train->size(), GetParam().num_train);
  const std::int64_t num_validation = GetParam().num_tokens - GetParam().num_train;
  EXPECT_EQ(dataset.validation ? dataset.validation->size() : 0, num_validation);
}

// 1115394 is tiny Shakespeare, which nanoGPT cuts into 1003854 and 111540.
INSTANTIATE_TEST_SUITE_P(Sizes,
                         SplitSizes,
                         testing::Values(Split{1115394, 0.1, 1003854},
                                         Split{10, 0.1, 9},
                                         Split{11, 0.1, 9},
                                         Split{100, 0.0, 100},
                                         Split{3, 0.5, 1},
                                         Split{1, 0.0, 1}));

TEST(TextDataset, WithoutAValidationFractionThereIsNoValidation) {
  const TemporaryFolder folder;
  EXPECT_EQ(open_dataset(text_config({folder.write("a", "abc")}, 0.0)).validation, nullptr);
}

TEST(TextDataset, CharactersComeFromBothSplits) {
  const TemporaryFolder folder;
  DataConfig config = text_config({folder.write("a", "aaaaaaaaa\xC3\xA9")});
  config.vocabulary = "characters";
  const Dataset dataset = open_dataset(config);
  EXPECT_EQ(dataset.vocabulary, Vocabulary::characters({U'a', U'\u00E9'}));
  EXPECT_EQ(all_tokens(*dataset.validation), Tokens{1});
}

TEST(TextDataset, AVocabularyFileNumbersTheCharacters) {
  const TemporaryFolder folder;
  DataConfig config = text_config({folder.write("a", "abba")}, 0.0);
  config.vocabulary = folder.write("v.json", Vocabulary::characters({U'b', U'a'}).to_json().dump());
  EXPECT_EQ(all_tokens(*open_dataset(config).train), (Tokens{1, 0, 0, 1}));
}

TEST(TextDataset, OpensWithAKnownVocabulary) {
  const TemporaryFolder folder;
  const auto source =
      open_text(Vocabulary::characters({U'b', U'a'}), {folder.write("a", "ab")}, "--text");
  EXPECT_EQ(all_tokens(*source), (Tokens{1, 0}));
  expect_error<FileError>(
      [&] { (void)open_text(Vocabulary::bytes(), {folder.path("none")}, "--text"); },
      {"--text", folder.path("none")});
  expect_error<FileError>(
      [&] { (void)open_text(Vocabulary::bytes(), {folder.write("b", "")}, "--text"); },
      {"--text", "no text"});
}

TEST(TextDataset, RefusesUnusableText) {
  const TemporaryFolder folder;
  expect_error<FileError>([&] { (void)open_dataset(text_config({folder.path("none.txt")})); },
                          {"data.text", "none.txt"});
  expect_error<FileError>([&] { (void)open_dataset(text_config({folder.write("empty", "")})); },
                          {"data.text", "no text", "empty"});
  expect_error<FileError>(
      [&] { (void)open_dataset(text_config({folder.write("tiny", "x")}, 0.1)); },
      {"1 token", "validation_fraction 0.1"});
  DataConfig config = text_config({folder.write("a", "abc")});
  config.vocabulary = "charcters";
  expect_error<FileError>([&] { (void)open_dataset(config); }, {"charcters", "No such file"});
  config.vocabulary = folder.write("none.json", Vocabulary::without_text(9).to_json().dump());
  expect_error<FileError>([&] { (void)open_dataset(config); }, {"no text"});
}

TEST(ShardDataset, JoinsShardsInSortedOrder) {
  const TemporaryFolder folder;
  folder.write("train_000001.bin", shard16({3, 4}));
  folder.write("train_000000.bin", shard16({1, 2}));
  folder.write("val_000000.bin", shard16({9}));
  DataConfig config;
  config.train_shards = folder.path("train_*.bin");
  config.validation_shards = folder.path("val_*.bin");
  const Dataset dataset = open_dataset(config);
  EXPECT_EQ(all_tokens(*dataset.train), (Tokens{1, 2, 3, 4}));
  EXPECT_EQ(all_tokens(*dataset.validation), Tokens{9});
  EXPECT_EQ(dataset.vocabulary, Vocabulary::without_text(10));
}

TEST(ShardDataset, MayLackValidation) {
  const TemporaryFolder folder;
  DataConfig config;
  config.train_shards = folder.write("train.bin", raw_bytes<std::uint16_t>({1, 2, 3}));
  EXPECT_EQ(open_dataset(config).validation, nullptr);
}

TEST(ShardDataset, FindsTheVocabularyBesideTheShards) {
  const TemporaryFolder folder;
  DataConfig config;
  config.train_shards = folder.write("train.bin", shard16({1, 0}));
  folder.write("vocabulary.json", Vocabulary::characters({U'a', U'b'}).to_json().dump());
  EXPECT_EQ(open_dataset(config).vocabulary, Vocabulary::characters({U'a', U'b'}));
  config.vocabulary = folder.write("other.json", Vocabulary::bytes().to_json().dump());
  EXPECT_EQ(open_dataset(config).vocabulary, Vocabulary::bytes());
}

TEST(ShardDataset, RefusesDamage) {
  const TemporaryFolder folder;
  DataConfig config;
  config.train_shards = folder.path("train_*.bin");
  expect_error<FileError>([&] { (void)open_dataset(config); },
                          {"data.shards.train", "train_*.bin"});
  folder.write("train_000000.bin", shard16({1, 2}));
  folder.write("train_000001.bin", shard_header(20240521, 1, 1) + "ab");
  expect_error<FileError>([&] { (void)open_dataset(config); }, {"train_000001.bin", "magic"});
  config.train_shards = folder.path("train_000000.bin");
  config.validation_shards = folder.path("val_*");
  expect_error<FileError>([&] { (void)open_dataset(config); }, {"data.shards.validation", "val_*"});
  config.validation_shards = folder.write("val.bin", shard32({4294967295U}));
  expect_error<FileError>([&] { (void)open_dataset(config); }, {"val.bin", "4294967295"});
}

// Without a vocabulary file the largest token tells the size of the model's table.
TEST(ShardDataset, RefusesATokenBeyondAnyVocabulary) {
  const TemporaryFolder folder;
  DataConfig config;
  config.train_shards = folder.write("train.bin", shard32({1, 16777215, 2}));
  EXPECT_EQ(open_dataset(config).vocabulary.size(), 16777216);
  for (const std::uint32_t token : {16777216U, 2147483647U}) {
    folder.write("train.bin", shard32({1, 2, token}));
    expect_error<FileError>([&] { (void)open_dataset(config); },
                            {"train.bin", fmt::format("id {}", token), "below 16777216"});
  }
}

TEST(Dataset, RefusesContradictoryConfigurations) {
  DataConfig config;
  expect_error<ConfigError>([&] { (void)open_dataset(config); }, {"text", "shards"});
  config.validation_shards = "v.bin";
  expect_error<ConfigError>([&] { (void)open_dataset(config); }, {"data.shards.train", "v.bin"});
  config.train_shards = "t.bin";
  config.text = {"a.txt"};
  expect_error<ConfigError>([&] { (void)open_dataset(config); }, {"exclude"});
  config.text.clear();
  config.vocabulary = "characters";
  expect_error<ConfigError>([&] { (void)open_dataset(config); }, {"data.vocabulary", "characters"});
  for (const double fraction : {-0.1, 1.0, 7.0, std::numeric_limits<double>::quiet_NaN()}) {
    expect_error<ConfigError>([&] { (void)open_dataset(text_config({"a.txt"}, fraction)); },
                              {"data.validation_fraction", fmt::format("{}", fraction)});
  }
}

}  // namespace
}  // namespace halfpipe::data
