// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/output_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <vector>

#include "engine/checkpoint/safetensors.h"
#include "kernels/core/error.h"
#include "tests/engine/checkpoint/scratch_directory.h"

namespace halfpipe::checkpoint {
namespace {

namespace fs = std::filesystem;

TEST(OutputFile, HasItsNameOnlyOnceCommitted) {
  const ScratchDirectory scratch;
  OutputFile file(scratch / "file");
  file.write("abc");
  file.write_zeros(100'000);
  file.write("xyz");
  EXPECT_FALSE(fs::exists(scratch / "file"));
  file.commit();
  EXPECT_EQ(read_bytes(scratch / "file"), "abc" + std::string(100'000, '\0') + "xyz");
  EXPECT_FALSE(fs::exists(scratch / "file.partial"));
}

TEST(OutputFile, AbandonedLeavesTheOldFileAndNothingElse) {
  const ScratchDirectory scratch;
  write_file(scratch / "file", "old");
  {
    OutputFile file(scratch / "file");
    file.write("new");
  }
  EXPECT_EQ(read_bytes(scratch / "file"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(scratch.path()), {}), 1);
}

TEST(OutputFile, AnUnwritablePathIsNamedWithTheReason) {
  const ScratchDirectory scratch;
  write_bytes(scratch / "file", "");
  const std::string message =
      message_of<RuntimeFailure>([&] { write_file(scratch / "file/below.json", "text"); });
  EXPECT_TRUE(contains(message, "file/below.json") && contains(message, "Not a directory"))
      << message;
}

/// Runs in a child process: writes 1 MiB where files may have 64 KiB. Returns its exit status.
int write_beyond_the_limit(const fs::path& path) {
  const rlimit limit{65536, 65536};
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 10;
  const std::vector<float> values(262'144, 1.0F);
  const NamedTensor tensor{"weight", {262'144}, values.data()};
  try {
    write_safetensors(path, {&tensor, 1});
  } catch (const RuntimeFailure& failure) {
    const std::string message = failure.what();
    if (!contains(message, path.string())) return 11;
    if (!contains(message, "File too large")) return 12;
    if (fs::exists(path.string() + ".partial")) return 13;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    return sigismember(&blocked, SIGXFSZ) == 0 ? 0 : 14;
  }
  return 15;
}

TEST(OutputFile, TheFileSizeLimitIsAFailureAndNotADeath) {
  const ScratchDirectory scratch;
  write_bytes(scratch / "model.safetensors", "old");
  const pid_t child = fork();
  if (child == 0) _exit(write_beyond_the_limit(scratch / "model.safetensors"));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(read_bytes(scratch / "model.safetensors"), "old");
}

}  // namespace
}  // namespace halfpipe::checkpoint
