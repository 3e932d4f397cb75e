// SPDX-License-Identifier: Apache-2.0
#include "engine/files/file_lock.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "kernels/core/error.h"
#include "tests/engine/files/temporary_folder.h"

namespace halfpipe::files {
namespace {

TEST(FileLock, IsHeldByOneAtATime) {
  const TemporaryFolder folder;
  {
    const FileLock first(folder.path("lock"));
    EXPECT_EQ(first.other_holder(), std::nullopt);
    const FileLock second(folder.path("lock"));
    EXPECT_EQ(second.other_holder(), std::to_string(::getpid()));
  }
  EXPECT_EQ(FileLock(folder.path("lock")).other_holder(), std::nullopt);
}

TEST(FileLock, IsReleasedByDeath) {
  const TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    const FileLock lock(folder.path("lock"));
    for (;;) ::pause();
  }
  while (read_file(folder.path("lock")).empty()) ::usleep(1000);
  EXPECT_EQ(FileLock(folder.path("lock")).other_holder(), std::to_string(child));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(FileLock(folder.path("lock")).other_holder(), std::nullopt);
  EXPECT_EQ(read_file(folder.path("lock")), std::to_string(::getpid()) + "\n");
}

TEST(FileLock, NamesTheFileThatCannotBeOpened) {
  const TemporaryFolder folder;
  expect_error<FileError>([&] { const FileLock lock(folder.path()); }, {folder.path()});
  expect_error<FileError>([&] { const FileLock lock(folder.path("absent/lock")); },
                          {"absent/lock"});
}

TEST(FileLock, DoesNotWaitForAPipe) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo(folder.path("lock").c_str(), 0600), 0);
  const FileLock first(folder.path("lock"));
  EXPECT_EQ(FileLock(folder.path("lock")).other_holder(), "unknown");
}

}  // namespace
}  // namespace halfpipe::files
