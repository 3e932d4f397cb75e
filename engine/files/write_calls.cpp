// SPDX-License-Identifier: Apache-2.0
#include "engine/files/write_calls.h"

#include "kernels/core/error.h"

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <system_error>

namespace halfpipe::files {
namespace {

/// Calls `write_some`, which returns how many of the bytes it took, until none are left.
template <typename WriteSome>
void repeat_until_written(std::span<const std::byte> bytes,
                          const std::string& path,
                          WriteSome write_some) {
  while (!bytes.empty()) {
    const ssize_t written = write_some(bytes);
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_with_errno("write", path);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

}  // namespace

void fail_with_errno(std::string_view what, const std::string& path) {
  const std::string reason = std::generic_category().message(errno);
  throw RuntimeFailure(fmt::format("cannot {} {}: {}", what, path, reason));
}

FileSizeSignalBlock::FileSizeSignalBlock() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGXFSZ);
  pthread_sigmask(SIG_BLOCK, &signals_, &previous_);
}

FileSizeSignalBlock::~FileSizeSignalBlock() {
  if (sigismember(&previous_, SIGXFSZ) != 0) return;
  const timespec no_wait{};
  while (sigtimedwait(&signals_, nullptr, &no_wait) == SIGXFSZ) {
  }
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

void write_all(int descriptor, std::span<const std::byte> bytes, const std::string& path) {
  repeat_until_written(bytes, path, [descriptor](std::span<const std::byte> rest) {
    return ::write(descriptor, rest.data(), rest.size());
  });
}

void write_all_at(int descriptor,
                  std::int64_t offset,
                  std::span<const std::byte> bytes,
                  const std::string& path) {
  const auto end = offset + static_cast<std::int64_t>(bytes.size());
  repeat_until_written(bytes, path, [descriptor, end](std::span<const std::byte> rest) {
    return ::pwrite(descriptor, rest.data(), rest.size(),
                    end - static_cast<std::int64_t>(rest.size()));
  });
}

}  // namespace halfpipe::files
