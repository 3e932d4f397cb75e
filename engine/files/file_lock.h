// SPDX-License-Identifier: Apache-2.0
// A lock that a process holds on a file for as long as it lives.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace halfpipe::files {

/// Advisory, by flock: the system releases it when the process dies in whatever way. The file is
/// made where it is absent, holds the process id of who locked it last, and stays: removing it
/// would let two processes lock two files of one name. FileError naming the file when it cannot be
/// opened. A file system without such locks keeps nobody out: better than not to run there.
/// Neither copied nor moved: hold it by std::unique_ptr.
class FileLock {
 public:
  explicit FileLock(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  /// Absent: the lock is ours. Otherwise the process id of who has it ("unknown" when its file does
  /// not say).
  [[nodiscard]] const std::optional<std::string>& other_holder() const noexcept {
    return other_holder_;
  }

 private:
  int descriptor_;
  std::optional<std::string> other_holder_;
};

}  // namespace halfpipe::files
