// SPDX-License-Identifier: Apache-2.0
// SharedFile: whole or absent, whoever wrote it.
#include "engine/files/shared_file.h"

#include "kernels/core/error.h"
#include "tests/engine/files/temporary_folder.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace halfpipe::files {
namespace {

namespace fs = std::filesystem;

void write_text(SharedFile& file, std::int64_t offset, std::string_view text) {
  const FileRun run{offset, std::as_bytes(std::span(text))};
  file.write({&run, 1});
}

bool is_empty(const TemporaryFolder& folder) {
  return fs::directory_iterator(folder.path()) == fs::directory_iterator();
}

TEST(SharedFile, HasItsNameWhenAllHaveWritten) {
  const TemporaryFolder folder;
  SharedFile creator(folder.path("file"));
  SharedFile other(folder.path("file"));
  SharedFile without_part(folder.path("file"));
  creator.create(12);
  write_text(other, 6, "world");
  write_text(creator, 0, "hello");
  for (SharedFile* each : {&creator, &other, &without_part}) each->close();
  EXPECT_FALSE(fs::exists(folder.path("file")));
  creator.commit();
  EXPECT_EQ(read_file(folder.path("file")), std::string("hello\0world\0", 12));
}

TEST(SharedFile, LeavesNothingWhenItIsNotCommitted) {
  const TemporaryFolder folder;
  {
    SharedFile creator(folder.path("file"));
    creator.create(100);
    write_text(creator, 0, "half");
    {
      SharedFile other(folder.path("file"));
      write_text(other, 50, "half");
    }
    EXPECT_FALSE(is_empty(folder));  // what others write is not theirs to remove
    creator.close();
  }
  EXPECT_TRUE(is_empty(folder));
}

TEST(SharedFile, IsOpenedByOthersOnlyOnceItIsThere) {
  const TemporaryFolder folder;
  SharedFile other(folder.path("file"));
  expect_error<RuntimeFailure>([&] { write_text(other, 0, "early"); },
                               {folder.path("file"), "No such file"});
  SharedFile creator(folder.path("absent/file"));
  expect_error<RuntimeFailure>([&] { creator.create(1); },
                               {folder.path("absent/file"), "No such file"});
}

TEST(SharedFile, TakesNothingAfterItsEnd) {
  const TemporaryFolder folder;
  SharedFile creator(folder.path("file"));
  creator.create(4);
  EXPECT_THROW(creator.commit(), InternalError);
  creator.close();
  EXPECT_THROW(write_text(creator, 0, "late"), InternalError);
  EXPECT_THROW(creator.close(), InternalError);
  creator.commit();
  EXPECT_THROW(creator.commit(), InternalError);
  SharedFile other(folder.path("file"));
  other.close();
  EXPECT_THROW(other.commit(), InternalError);
}

/// Runs in a child process: 1 MiB where files may have 64 KiB. Returns its exit status.
int create_beyond_the_limit(const std::string& path) {
  const rlimit limit{65536, 65536};
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 10;
  try {
    SharedFile file(path);
    file.create(1'048'576);
  } catch (const RuntimeFailure& failure) {
    const std::string_view message = failure.what();
    const bool is_named = message.find(path) != std::string_view::npos &&
                          message.find("File too large") != std::string_view::npos;
    return is_named ? 0 : 11;
  }
  return 12;
}

TEST(SharedFile, TheFileSizeLimitIsAFailureAndNotADeath) {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) _exit(create_beyond_the_limit(folder.path("file")));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(is_empty(folder));
}

}  // namespace
}  // namespace halfpipe::files
