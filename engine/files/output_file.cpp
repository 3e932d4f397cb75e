// SPDX-License-Identifier: Apache-2.0
// OutputFile by POSIX calls, which unlike streams say why they fail.
#include "engine/files/output_file.h"

#include "kernels/core/error.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <system_error>
#include <utility>

namespace halfpipe::files {
namespace {

[[noreturn]] void fail_with_errno(std::string_view what, const std::string& path) {
  const std::string reason = std::generic_category().message(errno);
  throw RuntimeFailure(fmt::format("cannot {} {}: {}", what, path, reason));
}

/// Hidden, so that what a killed run left is read by no one as data; with the process id, so that
/// two runs into one folder do not write into one file.
std::string partial_name(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return (path.parent_path() / fmt::format(".{}.{}.partial", name, ::getpid())).string();
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

/// Calls `write_some`, which returns how many of the bytes it took, until none are left.
template <typename WriteSome>
void write_all(std::span<const std::byte> bytes, const std::string& path, WriteSome write_some) {
  const FileSizeSignalBlock block;
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

OutputFile::OutputFile(const std::filesystem::path& path)
    : path_(path.string()), partial_path_(partial_name(path)) {
  // The rename would replace a device or a pipe by a file; at a folder it fails by itself.
  std::error_code ignored;
  const std::filesystem::file_status old = std::filesystem::status(path, ignored);
  if (std::filesystem::is_other(old)) {
    throw RuntimeFailure(
        fmt::format("cannot create {}: something that is no file has this name", path_));
  }
  constexpr mode_t kMode = 0666;  // the user's umask decides
  descriptor_ = ::open(partial_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kMode);
  if (descriptor_ < 0) fail_with_errno("create", path_);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!committed_) ::unlink(partial_path_.c_str());
}

void OutputFile::write(std::span<const std::byte> bytes) {
  HALFPIPE_CHECK(descriptor_ >= 0, "nothing is written after close()");
  write_all(bytes, path_, [this](std::span<const std::byte> rest) {
    return ::write(descriptor_, rest.data(), rest.size());
  });
}

void OutputFile::write_zeros(std::size_t bytes) {
  static constexpr std::array<std::byte, 65536> kZeros{};
  while (bytes > 0) {
    const std::size_t count = std::min(bytes, kZeros.size());
    write(std::span(kZeros).first(count));
    bytes -= count;
  }
}

void OutputFile::overwrite(std::int64_t offset, std::span<const std::byte> bytes) {
  HALFPIPE_CHECK(descriptor_ >= 0, "nothing is written after close()");
  const auto end = offset + static_cast<std::int64_t>(bytes.size());
  write_all(bytes, path_, [this, end](std::span<const std::byte> rest) {
    return ::pwrite(descriptor_, rest.data(), rest.size(),
                    end - static_cast<std::int64_t>(rest.size()));
  });
}

void OutputFile::close() {
  HALFPIPE_CHECK(descriptor_ >= 0, "the file is closed once");
  if (::fsync(descriptor_) != 0) fail_with_errno("flush", path_);
  // Some network file systems report a full disk only here.
  if (::close(std::exchange(descriptor_, -1)) != 0) fail_with_errno("finish", path_);
}

void OutputFile::commit() {
  HALFPIPE_CHECK(!committed_, "the file is committed once");
  if (descriptor_ >= 0) close();
  if (std::rename(partial_path_.c_str(), path_.c_str()) != 0) fail_with_errno("finish", path_);
  committed_ = true;
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  OutputFile file(path);
  file.write(text);
  file.commit();
}

void sync_directory(const std::filesystem::path& directory) {
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail_with_errno("open", directory.string());
  const int synced = ::fsync(descriptor);
  const int reason = errno;
  ::close(descriptor);
  // File systems that cannot flush a folder say EINVAL: their renames are as durable as they get.
  if (synced != 0 && reason != EINVAL) {
    errno = reason;
    fail_with_errno("flush", directory.string());
  }
}

}  // namespace halfpipe::files
