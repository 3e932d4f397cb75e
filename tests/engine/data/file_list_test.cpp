// SPDX-License-Identifier: Apache-2.0
// Paths, folders and globs.
#include "engine/data/file_list.h"

#include "kernels/core/error.h"
#include "tests/engine/files/temporary_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace halfpipe::data {
namespace {

using files::expect_error;
using files::TemporaryFolder;

namespace fs = std::filesystem;

class FileList : public testing::Test {
 protected:
  FileList() {
    for (const char* name : {"b.txt", "a.txt", "c.md", ".hidden.txt", "sub/d.txt", "sub/deep/e.txt",
                             "sub/deep/f.md", ".git/g.txt", "zoo/h.txt"}) {
      folder_.write(name, name);
    }
  }

  // Paths below the folder, for patterns below the folder.
  [[nodiscard]] std::vector<std::string> list(std::vector<std::string> patterns) const {
    for (std::string& pattern : patterns) pattern = folder_.path(pattern);
    std::vector<std::string> files = list_files(patterns, "data.text");
    for (std::string& file : files) file = file.substr(folder_.path().size() + 1);
    return files;
  }

  TemporaryFolder folder_;
};

using Names = std::vector<std::string>;

TEST_F(FileList, FilesComeSortedAndOnce) {
  EXPECT_EQ(list({"c.md", "a.txt", "c.md", "./sub//../a.txt"}), (Names{"a.txt", "c.md"}));
}

TEST_F(FileList, AFolderGivesAllFilesBelowButHiddenOnes) {
  const Names all{"a.txt",          "b.txt",         "c.md",     "sub/d.txt",
                  "sub/deep/e.txt", "sub/deep/f.md", "zoo/h.txt"};
  EXPECT_EQ(list({""}), all);
  EXPECT_EQ(list({"sub/"}), (Names{"sub/d.txt", "sub/deep/e.txt", "sub/deep/f.md"}));
}

TEST_F(FileList, AnExplicitHiddenNameIsTaken) {
  EXPECT_EQ(list({".hidden.txt"}), Names{".hidden.txt"});
  EXPECT_EQ(list({".git"}), Names{".git/g.txt"});
  EXPECT_EQ(list({".h*"}), Names{".hidden.txt"});
}

TEST_F(FileList, GlobsMatchWithinAComponent) {
  EXPECT_EQ(list({"*.txt"}), (Names{"a.txt", "b.txt"}));
  EXPECT_EQ(list({"?.md"}), Names{"c.md"});
  EXPECT_EQ(list({"[!a].txt"}), Names{"b.txt"});
  EXPECT_EQ(list({"*/*.txt"}), (Names{"sub/d.txt", "zoo/h.txt"}));
  EXPECT_EQ(list({"s*/deep/*"}), (Names{"sub/deep/e.txt", "sub/deep/f.md"}));
}

TEST_F(FileList, TwoStarsCrossFolders) {
  EXPECT_EQ(list({"**/*.txt"}),
            (Names{"a.txt", "b.txt", "sub/d.txt", "sub/deep/e.txt", "zoo/h.txt"}));
  EXPECT_EQ(list({"sub/**"}), (Names{"sub/d.txt", "sub/deep/e.txt", "sub/deep/f.md"}));
  EXPECT_EQ(list({"**/deep/*.md"}), Names{"sub/deep/f.md"});
  EXPECT_EQ(list({"**/**/e.txt"}), Names{"sub/deep/e.txt"});
}

TEST_F(FileList, AGlobThatMatchesAFolderTakesWhatIsBelow) {
  EXPECT_EQ(list({"s?b"}), (Names{"sub/d.txt", "sub/deep/e.txt", "sub/deep/f.md"}));
}

TEST_F(FileList, RelativePatternsAreRelativeToTheWorkingFolder) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());
  const std::vector<std::string> patterns{"*.txt", "sub/**/*.md", "./c.md"};
  const auto files = list_files(patterns, "data.text");
  fs::current_path(before);
  EXPECT_EQ(files, (Names{"a.txt", "b.txt", "c.md", "sub/deep/f.md"}));
}

TEST_F(FileList, ANameWithBracketsIsFirstAFile) {
  folder_.write("[a].txt", "literal");
  EXPECT_EQ(list({"[a].txt"}), Names{"[a].txt"});
}

TEST_F(FileList, LinksAreFollowedAndLoopsEnd) {
  fs::create_symlink("..", folder_.path("sub/loop"));
  fs::create_symlink("loop", folder_.path("zoo/loop"));  // to itself
  fs::create_symlink("../a.txt", folder_.path("zoo/same.txt"));
  fs::create_symlink("nowhere", folder_.path("zoo/broken.txt"));
  const Names all{"a.txt",          "b.txt",         "c.md",     "sub/d.txt",
                  "sub/deep/e.txt", "sub/deep/f.md", "zoo/h.txt"};
  EXPECT_EQ(list({""}), all);
  EXPECT_EQ(list({"**/*"}), all);
  EXPECT_EQ(list({"zoo"}), (Names{"zoo/h.txt", "zoo/same.txt"}));
}

TEST_F(FileList, SpecialFilesArePassedOver) {
  ASSERT_EQ(::mkfifo(folder_.path("zoo/pipe").c_str(), 0600), 0);
  EXPECT_EQ(list({"zoo"}), Names{"zoo/h.txt"});
  EXPECT_EQ(list({"zoo/*"}), Names{"zoo/h.txt"});
  expect_error<FileError>([&] { (void)list({"zoo/pipe"}); },
                          {"data.text", "zoo/pipe", "regular files or folders"});
}

TEST_F(FileList, WhatNamesNothingIsAnErrorWithItsPattern) {
  expect_error<FileError>(
      [&] {
        (void)list({"a.txt", "missing.txt"});
      },
      {"data.text", "missing.txt", "existing"});
  expect_error<FileError>([&] { (void)list({"*.cpp"}); }, {"data.text", "*.cpp", "matches no"});
  expect_error<FileError>([&] { (void)list({"a.txt/**"}); }, {"a.txt/**", "matches no"});
  fs::create_directory(folder_.path("empty"));
  expect_error<FileError>([&] { (void)list({"empty"}); }, {"empty", "matches no"});
  expect_error<FileError>([&] { (void)list_files(std::vector<std::string>{""}, "data.text"); },
                          {"data.text"});
}

TEST(Glob, MatchesLikeAShell) {
  EXPECT_TRUE(matches_glob("train_000001.bin", "train_*.bin"));
  EXPECT_TRUE(matches_glob("abcabc", "*abc"));
  EXPECT_TRUE(matches_glob("aXbXc", "a*b*c"));
  EXPECT_TRUE(matches_glob("", "*"));
  EXPECT_TRUE(matches_glob("x]", "x[]]"));
  EXPECT_TRUE(matches_glob("b", "[a-c]"));
  EXPECT_TRUE(matches_glob("-", "[a-]"));
  EXPECT_TRUE(matches_glob("[", "["));
  EXPECT_FALSE(matches_glob("d", "[a-c]"));
  EXPECT_FALSE(matches_glob("b", "[!a-c]"));
  EXPECT_FALSE(matches_glob("", "?"));
  EXPECT_FALSE(matches_glob("ab", "a"));
  EXPECT_FALSE(matches_glob("a", "ab"));
}

TEST(Glob, ManyStarsStayFast) {
  // Backtracking only to the last star keeps this quadratic; naive recursion would not end.
  EXPECT_FALSE(matches_glob(std::string(200, 'a'), "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"));
}

}  // namespace
}  // namespace halfpipe::data
