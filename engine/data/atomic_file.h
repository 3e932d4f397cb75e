// SPDX-License-Identifier: Apache-2.0
// A file that appears whole or not at all: written under a temporary name, flushed to disk,
// renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace halfpipe::data {

/// Buffered writer of one file. Every failure is a RuntimeFailure that names the file. Destroyed
/// before publish(), it leaves nothing behind. Neither copied nor moved: hold it by
/// std::unique_ptr.
class AtomicFile {
 public:
  /// Opens the hidden temporary file beside `path`.
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void append(std::span<const std::byte> bytes);
  /// Replaces bytes written before, from `offset` on.
  void overwrite(std::int64_t offset, std::span<const std::byte> bytes);
  /// Flushes to disk and closes; nothing may be written after it.
  void close();
  /// Gives the file its name, replacing any file of that name. After close().
  void publish();

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  void flush_buffer();
  [[noreturn]] void fail() const;

  std::string path_;
  std::string temporary_path_;
  std::vector<std::byte> buffer_;
  int fd_ = -1;
  bool published_ = false;
};

}  // namespace halfpipe::data
