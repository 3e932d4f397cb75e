// SPDX-License-Identifier: Apache-2.0
// AtomicFile by POSIX calls, which unlike streams say why they fail.
#include "engine/data/atomic_file.h"

#include "kernels/core/error.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

namespace halfpipe::data {

namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20U;

std::string temporary_name(const std::string& path) {
  const std::filesystem::path full(path);
  return (full.parent_path() / fmt::format(".{}.{}.tmp", full.filename().string(), ::getpid()))
      .string();
}

}  // namespace

AtomicFile::AtomicFile(std::string path)
    : path_(std::move(path)), temporary_path_(temporary_name(path_)) {
  fd_ = ::open(temporary_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail();
  buffer_.reserve(kBufferBytes);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!published_) ::unlink(temporary_path_.c_str());
}

void AtomicFile::append(std::span<const std::byte> bytes) {
  if (buffer_.size() + bytes.size() > kBufferBytes) flush_buffer();
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void AtomicFile::overwrite(std::int64_t offset, std::span<const std::byte> bytes) {
  flush_buffer();
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno != EINTR) fail();
    if (written <= 0) continue;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += written;
  }
}

void AtomicFile::close() {
  flush_buffer();
  if (::fsync(fd_) != 0) fail();
  const int result = ::close(std::exchange(fd_, -1));
  if (result != 0) fail();
}

void AtomicFile::publish() {
  HALFPIPE_CHECK(fd_ < 0 && !published_, "a file is published once, after close()");
  if (std::rename(temporary_path_.c_str(), path_.c_str()) != 0) fail();
  published_ = true;
}

void AtomicFile::flush_buffer() {
  HALFPIPE_CHECK(fd_ >= 0, "nothing is written after close()");
  std::span<const std::byte> rest = buffer_;
  while (!rest.empty()) {
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written < 0 && errno != EINTR) fail();
    if (written > 0) rest = rest.subspan(static_cast<std::size_t>(written));
  }
  buffer_.clear();
}

void AtomicFile::fail() const {
  throw RuntimeFailure(fmt::format("{}: cannot be written: {}", path_, std::strerror(errno)));
}

}  // namespace halfpipe::data
