// SPDX-License-Identifier: Apache-2.0
// AtomicFile: whole or absent.
#include "engine/data/atomic_file.h"

#include "kernels/core/error.h"
#include "tests/engine/data/temporary_folder.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

namespace halfpipe::data {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

bool is_empty(const TemporaryFolder& folder) {
  return std::filesystem::is_empty(folder.path());
}

TEST(AtomicFile, AppearsWhenPublished) {
  const TemporaryFolder folder;
  AtomicFile file(folder.path("a"));
  file.append(bytes_of("hello world"));
  file.overwrite(6, bytes_of("W"));
  file.append(bytes_of("!"));
  file.close();
  EXPECT_FALSE(std::filesystem::exists(folder.path("a")));
  file.publish();
  EXPECT_EQ(read_file(folder.path("a")), "hello World!");
}

TEST(AtomicFile, TakesMoreThanItsBuffer) {
  const TemporaryFolder folder;
  std::string expected;
  {
    AtomicFile file(folder.path("a"));
    for (const std::size_t size : {1000UL, 1048576UL, 3000000UL, 7UL}) {
      const std::string part(size, static_cast<char>('a' + size % 26));
      file.append(bytes_of(part));
      expected += part;
    }
    file.close();
    file.publish();
  }
  EXPECT_EQ(read_file(folder.path("a")), expected);
}

TEST(AtomicFile, LeavesNothingWhenGivenUp) {
  const TemporaryFolder folder;
  {
    AtomicFile open(folder.path("a"));
    open.append(bytes_of("x"));
    AtomicFile closed(folder.path("b"));
    closed.close();
  }
  EXPECT_TRUE(is_empty(folder));
}

TEST(AtomicFile, ReplacesTheOldFileOnlyAtTheEnd) {
  const TemporaryFolder folder;
  folder.write("a", "old");
  AtomicFile file(folder.path("a"));
  file.append(bytes_of("new"));
  file.close();
  EXPECT_EQ(read_file(folder.path("a")), "old");
  file.publish();
  EXPECT_EQ(read_file(folder.path("a")), "new");
}

TEST(AtomicFile, NamesTheFileThatCannotBeMade) {
  const TemporaryFolder folder;
  expect_error<RuntimeFailure>([&] { const AtomicFile file(folder.path("none/a")); },
                               {folder.path("none/a"), "No such file"});
}

// Lowers the limit on the size of files, as a full disk would, for the life of the object.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit lower{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &lower);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);  // write() is to fail, not to kill
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int) = SIG_DFL;
};

TEST(AtomicFile, AWriteThatFailsHalfWayLeavesNothing) {
  const TemporaryFolder folder;
  expect_error<RuntimeFailure>(
      [&] {
        const FileSizeLimit limit(1000);
        AtomicFile file(folder.path("a"));
        file.append(bytes_of(std::string(5000, 'x')));
        file.close();
      },
      {folder.path("a"), "cannot be written", "File too large"});
  EXPECT_TRUE(is_empty(folder));
}

TEST(AtomicFile, IsUsedInOrder) {
  const TemporaryFolder folder;
  AtomicFile file(folder.path("a"));
  EXPECT_THROW(file.publish(), InternalError);
  file.close();
  EXPECT_THROW(file.close(), InternalError);
  file.publish();
  EXPECT_THROW(file.publish(), InternalError);
}

}  // namespace
}  // namespace halfpipe::data
