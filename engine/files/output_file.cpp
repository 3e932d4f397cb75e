// SPDX-License-Identifier: Apache-2.0
#include "engine/files/output_file.h"

#include "engine/files/write_calls.h"
#include "kernels/core/error.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

namespace halfpipe::files {
namespace {

/// Hidden, so that what a killed run left is read by no one as data; with the process id, so that
/// two runs into one folder do not write into one file.
std::string partial_name(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return (path.parent_path() / fmt::format(".{}.{}.partial", name, ::getpid())).string();
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
  const FileSizeSignalBlock block;
  write_all(descriptor_, bytes, path_);
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
  const FileSizeSignalBlock block;
  write_all_at(descriptor_, offset, bytes, path_);
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
