// SPDX-License-Identifier: Apache-2.0
#include "engine/files/file_lock.h"

#include "kernels/core/error.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace halfpipe::files {
namespace {

std::string read_holder(int descriptor) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(descriptor, text.data(), text.size(), 0);
  if (size <= 0) return "unknown";
  const std::string holder(text.data(), static_cast<std::size_t>(size));
  return holder.substr(0, holder.find('\n'));
}

/// Best effort: the id only serves a message.
void write_holder(int descriptor) {
  const std::string text = fmt::format("{}\n", ::getpid());
  if (::ftruncate(descriptor, 0) != 0) return;
  [[maybe_unused]] const ssize_t written = ::pwrite(descriptor, text.data(), text.size(), 0);
}

}  // namespace

FileLock::FileLock(const std::filesystem::path& path) {
  constexpr mode_t kMode = 0666;  // the user's umask decides
  // O_NONBLOCK: a pipe of that name must not make us wait.
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, kMode);
  if (descriptor_ < 0) {
    throw FileError(
        fmt::format("cannot open {}: {}", path.string(), std::generic_category().message(errno)));
  }
  const bool busy = ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (busy) {
    other_holder_ = read_holder(descriptor_);
  } else {
    write_holder(descriptor_);
  }
}

FileLock::~FileLock() {
  ::close(descriptor_);
}

}  // namespace halfpipe::files
