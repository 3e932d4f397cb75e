// SPDX-License-Identifier: Apache-2.0
// OutputFile: whole or absent.
#include "engine/files/output_file.h"

#include "kernels/core/error.h"
#include "tests/engine/files/temporary_folder.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

namespace halfpipe::files {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::vector<std::string> names_in(const TemporaryFolder& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder.path()))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

using Names = std::vector<std::string>;

TEST(OutputFile, HasItsNameOnlyOnceCommitted) {
  const TemporaryFolder folder;
  OutputFile file(folder.path("file"));
  EXPECT_EQ(file.path(), folder.path("file"));
  file.write("abc");
  file.write_zeros(100'000);
  file.write("xyz");
  EXPECT_FALSE(fs::exists(folder.path("file")));
  file.commit();
  EXPECT_EQ(read_file(folder.path("file")), "abc" + std::string(100'000, '\0') + "xyz");
  EXPECT_EQ(names_in(folder), Names{"file"});
}

TEST(OutputFile, OverwritesWithoutMovingItsEnd) {
  const TemporaryFolder folder;
  OutputFile file(folder.path("file"));
  file.write("hello world");
  file.overwrite(6, bytes_of("W"));
  file.write("!");
  file.overwrite(0, bytes_of("J"));
  file.commit();
  EXPECT_EQ(read_file(folder.path("file")), "Jello World!");
}

TEST(OutputFile, TakesPiecesOfAnySize) {
  const TemporaryFolder folder;
  std::string expected;
  {
    OutputFile file(folder.path("file"));
    for (const std::size_t size : {1000UL, 1048576UL, 0UL, 3000000UL, 7UL}) {
      const std::string piece(size, static_cast<char>('a' + size % 26));
      file.write(piece);
      expected += piece;
    }
    file.commit();
  }
  EXPECT_EQ(read_file(folder.path("file")), expected);
}

TEST(OutputFile, ClosedFilesAppearTogether) {
  const TemporaryFolder folder;
  OutputFile first(folder.path("a"));
  OutputFile second(folder.path("b"));
  first.write("1");
  first.close();
  second.write("2");
  second.close();
  for (const std::string& name : names_in(folder)) EXPECT_EQ(name.front(), '.') << name;
  first.commit();
  second.commit();
  EXPECT_EQ(names_in(folder), (Names{"a", "b"}));
  EXPECT_EQ(read_file(folder.path("a")) + read_file(folder.path("b")), "12");
}

TEST(OutputFile, ReplacesTheOldFileOnlyAtTheEnd) {
  const TemporaryFolder folder;
  folder.write("file", "old");
  OutputFile file(folder.path("file"));
  file.write("new");
  file.close();
  EXPECT_EQ(read_file(folder.path("file")), "old");
  file.commit();
  EXPECT_EQ(read_file(folder.path("file")), "new");
}

TEST(OutputFile, AbandonedLeavesTheOldFileAndNothingElse) {
  const TemporaryFolder folder;
  write_file(folder.path("file"), "old");
  {
    OutputFile open(folder.path("file"));
    open.write("new");
    OutputFile closed(folder.path("other"));
    closed.close();
  }
  EXPECT_EQ(read_file(folder.path("file")), "old");
  EXPECT_EQ(names_in(folder), Names{"file"});
}

TEST(OutputFile, TakesANameWithoutAFolder) {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  write_file("file", "text");
  fs::current_path(before);
  EXPECT_EQ(read_file(folder.path("file")), "text");
}

TEST(OutputFile, AnUnwritablePathIsNamedWithTheReason) {
  const TemporaryFolder folder;
  folder.write("file", "");
  expect_error<RuntimeFailure>([&] { write_file(folder.path("file/below.json"), "text"); },
                               {folder.path("file/below.json"), "Not a directory"});
  expect_error<RuntimeFailure>([&] { const OutputFile file(folder.path("none/a")); },
                               {folder.path("none/a"), "No such file"});
}

TEST(OutputFile, ANameThatCannotBeTakenLeavesNothing) {
  const TemporaryFolder folder;
  folder.write("taken/file", "");
  expect_error<RuntimeFailure>([&] { write_file(folder.path("taken"), "text"); },
                               {"cannot finish", folder.path("taken"), "directory"});
  EXPECT_EQ(names_in(folder), Names{"taken"});
}

TEST(OutputFile, ReplacesNoPipe) {
  const TemporaryFolder folder;
  const std::string pipe = folder.path("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  expect_error<RuntimeFailure>([&] { write_file(pipe, "text"); }, {"cannot create", pipe});
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST(OutputFile, IsUsedInOrder) {
  const TemporaryFolder folder;
  OutputFile file(folder.path("file"));
  file.close();
  EXPECT_THROW(file.close(), InternalError);
  EXPECT_THROW(file.write("late"), InternalError);
  EXPECT_THROW(file.overwrite(0, bytes_of("late")), InternalError);
  file.commit();
  EXPECT_THROW(file.commit(), InternalError);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Runs in a child process: writes 1 MiB where files may have 64 KiB. Returns its exit status.
int write_beyond_the_limit(const std::string& path) {
  const rlimit limit{65536, 65536};
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 10;
  try {
    write_file(path, std::string(1'048'576, 'x'));
  } catch (const RuntimeFailure& failure) {
    const std::string message = failure.what();
    if (!contains(message, path)) return 11;
    if (!contains(message, "File too large")) return 12;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    return sigismember(&blocked, SIGXFSZ) == 0 ? 0 : 13;
  }
  return 14;
}

TEST(OutputFile, TheFileSizeLimitIsAFailureAndNotADeath) {
  const TemporaryFolder folder;
  folder.write("file", "old");
  const pid_t child = fork();
  if (child == 0) _exit(write_beyond_the_limit(folder.path("file")));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(read_file(folder.path("file")), "old");
  EXPECT_EQ(names_in(folder), Names{"file"});
}

TEST(SyncDirectory, TakesFoldersOnly) {
  const TemporaryFolder folder;
  sync_directory(folder.path());
  folder.write("file", "");
  expect_error<RuntimeFailure>([&] { sync_directory(folder.path("file")); },
                               {folder.path("file"), "Not a directory"});
}

}  // namespace
}  // namespace halfpipe::files
