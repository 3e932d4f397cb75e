// SPDX-License-Identifier: Apache-2.0
// Shards written and read back; text files tokenized.
#include "engine/data/shard_writer.h"

#include "engine/data/dataset.h"
#include "kernels/core/error.h"
#include "tests/engine/data/all_tokens.h"
#include "tests/engine/data/shard_bytes.h"
#include "tests/engine/files/temporary_folder.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace halfpipe::data {
namespace {

using files::expect_error;
using files::read_file;
using files::TemporaryFolder;

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(ShardWriter, WritesTheFormatByteForByte) {
  const TemporaryFolder folder;
  ShardWriter writer(folder.path(), "train", 65536, 100);
  writer.append(Tokens{1, 2, 65535});
  writer.publish();
  EXPECT_EQ(read_file(folder.path("train_000000.bin")), shard16({1, 2, 65535}));
}

TEST(ShardWriter, TakesThirtyTwoBitsWhereSixteenAreTooFew) {
  const TemporaryFolder folder;
  ShardWriter writer(folder.path(), "train", 65537, 100);
  writer.append(Tokens{1, 65536});
  writer.publish();
  EXPECT_EQ(read_file(folder.path("train_000000.bin")), shard32({1, 65536}));
}

class ShardSizes : public testing::TestWithParam<std::tuple<int, int, int>> {};

TEST_P(ShardSizes, ComeBackAsOneSequence) {
  const auto [num_tokens, shard_tokens, vocab_size] = GetParam();
  const TemporaryFolder folder;
  Tokens tokens;
  for (int i = 0; i < num_tokens; ++i) tokens.push_back((i * 7919) % vocab_size);
  ShardWriter writer(folder.path(), "train", vocab_size, shard_tokens);
  // Pieces of 7 tokens, which the shards cut anywhere.
  for (std::size_t first = 0; first < tokens.size(); first += 7) {
    writer.append(
        std::span(tokens).subspan(first, std::min<std::size_t>(7, tokens.size() - first)));
  }
  writer.publish();
  EXPECT_EQ(writer.num_tokens(), num_tokens);
  EXPECT_EQ(static_cast<int>(writer.paths().size()),
            (num_tokens + shard_tokens - 1) / shard_tokens);
  DataConfig config;
  config.train_shards = folder.path("train_*.bin");
  EXPECT_EQ(all_tokens(*open_dataset(config).train), tokens);
}

INSTANTIATE_TEST_SUITE_P(Sizes,
                         ShardSizes,
                         testing::Combine(testing::Values(1, 20, 21, 50),
                                          testing::Values(5, 7, 10, 20, 1000),
                                          testing::Values(256, 100000)));

TEST(ShardWriter, LeavesNothingWhenGivenUp) {
  const TemporaryFolder folder;
  {
    ShardWriter writer(folder.path(), "train", 256, 2);
    writer.append(Tokens{1, 2, 3, 4, 5});
  }
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{});
}

TEST(ShardWriter, RefusesTokensBeyondTheVocabulary) {
  const TemporaryFolder folder;
  ShardWriter writer(folder.path(), "train", 256, 2);
  EXPECT_THROW(writer.append(Tokens{256}), InternalError);
  EXPECT_THROW(writer.append(Tokens{-1}), InternalError);
}

TEST(TokenizeFiles, WritesWhatTrainingOnTheTextWouldRead) {
  const TemporaryFolder folder;
  DataConfig text;
  text.text = {folder.write("a.txt", "First Citizen:\n"), folder.write("b.txt",
                                                                       "Before we pr\xC3\xB6"
                                                                       "ceed\n")};
  text.vocabulary = "characters";
  text.validation_fraction = 0.25;
  const Dataset expected = open_dataset(text);

  TokenizeOptions options;
  options.inputs = text.text;
  options.vocabulary = text.vocabulary;
  options.validation_fraction = text.validation_fraction;
  options.out_dir = folder.path("new/shards");
  options.shard_tokens = 10;
  const TokenizeReport report = tokenize_files(options);

  DataConfig shards;
  shards.train_shards = options.out_dir + "/train_*.bin";
  shards.validation_shards = options.out_dir + "/val_*.bin";
  const Dataset dataset = open_dataset(shards);
  EXPECT_EQ(dataset.vocabulary, expected.vocabulary);
  EXPECT_EQ(all_tokens(*dataset.train), all_tokens(*expected.train));
  EXPECT_EQ(all_tokens(*dataset.validation), all_tokens(*expected.validation));
  EXPECT_EQ(report.vocab_size, expected.vocabulary.size());
  EXPECT_EQ(report.num_train_tokens, expected.train->size());
  EXPECT_EQ(report.num_validation_tokens, expected.validation->size());
  EXPECT_EQ(names_in(options.out_dir),
            (std::vector<std::string>{"train_000000.bin", "train_000001.bin", "train_000002.bin",
                                      "val_000000.bin", "vocabulary.json"}));
  EXPECT_EQ(report.files.size(), 5U);
  EXPECT_EQ(report.files.front(), options.out_dir + "/vocabulary.json");
}

TEST(TokenizeFiles, WithoutValidationWritesNoValidationShard) {
  const TemporaryFolder folder;
  TokenizeOptions options;
  options.inputs = {folder.write("a.txt", "abc")};
  options.validation_fraction = 0.0;
  options.out_dir = folder.path("out");
  EXPECT_EQ(tokenize_files(options).num_validation_tokens, 0);
  EXPECT_EQ(names_in(options.out_dir),
            (std::vector<std::string>{"train_000000.bin", "vocabulary.json"}));
}

TEST(TokenizeFiles, RefusesWrongRequests) {
  const TemporaryFolder folder;
  TokenizeOptions options;
  options.inputs = {folder.write("a.txt", "abcdefghijkl")};
  options.out_dir = folder.path("out");
  options.shard_tokens = 0;
  expect_error<ConfigError>([&] { (void)tokenize_files(options); }, {"shard-tokens (0)"});
  options.shard_tokens = 4294967296;
  expect_error<ConfigError>([&] { (void)tokenize_files(options); }, {"shard-tokens (4294967296)"});
  options.shard_tokens = 10;
  options.out_dir = folder.path("a.txt");
  expect_error<FileError>([&] { (void)tokenize_files(options); },
                          {folder.path("a.txt"), "cannot be made"});
  options.out_dir = folder.path("a.txt/out");
  expect_error<FileError>([&] { (void)tokenize_files(options); },
                          {folder.path("a.txt/out"), "cannot be made"});
  options.inputs = {folder.path("none")};
  expect_error<FileError>([&] { (void)tokenize_files(options); }, {"input", folder.path("none")});
}

TEST(TokenizeFiles, RefusesAFolderWithOldShards) {
  const TemporaryFolder folder;
  TokenizeOptions options;
  options.inputs = {folder.write("a.txt", "abcdefghijkl")};
  options.out_dir = folder.path();
  (void)tokenize_files(options);
  std::filesystem::remove(folder.path("vocabulary.json"));
  std::filesystem::remove(folder.path("train_000000.bin"));
  expect_error<FileError>([&] { (void)tokenize_files(options); },
                          {folder.path(), "val_000000.bin"});
}

}  // namespace
}  // namespace halfpipe::data
