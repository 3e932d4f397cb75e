// SPDX-License-Identifier: Apache-2.0
// The mapped file: content, ownership, refusals.
#include "engine/files/mapped_file.h"

#include "kernels/core/error.h"
#include "tests/engine/files/temporary_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <utility>

namespace halfpipe::files {
namespace {

TEST(MappedFile, HoldsTheContent) {
  const TemporaryFolder folder;
  const MappedFile file(folder.write("a", std::string("x\0y", 3)));
  EXPECT_EQ(file.text(), std::string_view("x\0y", 3));
  EXPECT_EQ(file.bytes().size(), 3U);
}

TEST(MappedFile, MayBeEmpty) {
  const TemporaryFolder folder;
  EXPECT_TRUE(MappedFile(folder.write("a", "")).bytes().empty());
}

TEST(MappedFile, ReadsATextFileAsAString) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_text_file(folder.write("a", "text\n")), "text\n");
  EXPECT_EQ(read_text_file(folder.write("b", "")), "");
}

TEST(MappedFile, MovesItsMapping) {
  const TemporaryFolder folder;
  MappedFile first(folder.write("a", "first"));
  MappedFile second(folder.write("b", "second"));
  second = std::move(first);
  EXPECT_EQ(second.text(), "first");
  const MappedFile third(std::move(second));
  EXPECT_EQ(third.text(), "first");
  EXPECT_EQ(third.path(), folder.path("a"));
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  const TemporaryFolder folder;
  expect_error<FileError>([&] { const MappedFile file(folder.path("none")); },
                          {folder.path("none"), "No such file"});
  expect_error<FileError>([&] { const MappedFile file(folder.path()); },
                          {folder.path(), "regular file"});
  ASSERT_EQ(::mkfifo(folder.path("pipe").c_str(), 0600), 0);
  expect_error<FileError>([&] { const MappedFile file(folder.path("pipe")); },
                          {"pipe", "regular file"});
}

}  // namespace
}  // namespace halfpipe::files
