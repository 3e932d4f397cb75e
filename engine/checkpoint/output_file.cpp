// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/output_file.h"

#include "kernels/core/error.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <system_error>
#include <utility>

namespace halfpipe::checkpoint {
namespace {

[[noreturn]] void fail_with_errno(std::string_view what, const std::filesystem::path& path) {
  const std::string reason = std::generic_category().message(errno);
  throw RuntimeFailure(fmt::format("cannot {} {}: {}", what, path.string(), reason));
}

/// While alive, SIGXFSZ (sent to the thread whose write meets the file-size limit) cannot end the
/// process: write() returns EFBIG instead. Blocking it in this thread keeps the process's own
/// signal handlers as they are, which ignoring it would not.
class FileSizeSignalBlock {
 public:
  FileSizeSignalBlock() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &signals_, &previous_);
  }
  ~FileSizeSignalBlock() {
    if (sigismember(&previous_, SIGXFSZ) != 0) return;
    const timespec no_wait{};
    while (sigtimedwait(&signals_, nullptr, &no_wait) == SIGXFSZ) {
    }
    pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
  }
  FileSizeSignalBlock(const FileSizeSignalBlock&) = delete;
  FileSizeSignalBlock& operator=(const FileSizeSignalBlock&) = delete;

 private:
  sigset_t signals_{};
  sigset_t previous_{};
};

}  // namespace

OutputFile::OutputFile(std::filesystem::path path)
    : path_(std::move(path)), partial_path_(path_.string() + ".partial") {
  constexpr mode_t kMode = 0666;  // the user's umask decides
  descriptor_ = open(partial_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kMode);
  if (descriptor_ < 0) fail_with_errno("create", path_);
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(partial_path_.c_str());
}

void OutputFile::write(std::span<const std::byte> bytes) {
  const FileSizeSignalBlock block;
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_with_errno("write", path_);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void OutputFile::write_zeros(std::size_t bytes) {
  static constexpr std::array<std::byte, 65536> kZeros{};
  while (bytes > 0) {
    const std::size_t count = std::min(bytes, kZeros.size());
    write(std::span(kZeros).first(count));
    bytes -= count;
  }
}

void OutputFile::commit() {
  HALFPIPE_CHECK(descriptor_ >= 0, "the file is committed once");
  if (fsync(descriptor_) != 0) fail_with_errno("flush", path_);
  const int closed = close(std::exchange(descriptor_, -1));
  // Some network file systems report a full disk only here.
  if (closed != 0 || rename(partial_path_.c_str(), path_.c_str()) != 0) {
    const int reason = errno;
    unlink(partial_path_.c_str());
    errno = reason;
    fail_with_errno("finish", path_);
  }
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  OutputFile file(path);
  file.write(text);
  file.commit();
}

void sync_directory(const std::filesystem::path& directory) {
  const int descriptor = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail_with_errno("open", directory);
  const int synced = fsync(descriptor);
  const int reason = errno;
  close(descriptor);
  // File systems that cannot flush a folder say EINVAL: their renames are as durable as they get.
  if (synced != 0 && reason != EINVAL) {
    errno = reason;
    fail_with_errno("flush", directory);
  }
}

}  // namespace halfpipe::checkpoint
