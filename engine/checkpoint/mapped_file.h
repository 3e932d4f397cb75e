// SPDX-License-Identifier: Apache-2.0
// A file seen as bytes in memory, read when touched.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace halfpipe::checkpoint {

/// Owns a read-only mapping of a whole file. A moved-from object is empty. Throws FileError when
/// the file is missing, unreadable or not a regular file.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  void reset() noexcept;

  std::span<const std::byte> bytes_;
};

/// The whole content of a small file; FileError when it cannot be read.
[[nodiscard]] std::string read_text_file(const std::filesystem::path& path);

}  // namespace halfpipe::checkpoint
