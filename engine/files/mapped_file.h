// SPDX-License-Identifier: Apache-2.0
// A file seen as bytes in memory, read when touched; ranks of one machine share its pages.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace halfpipe::files {

/// Owns a read-only mapping of a whole file, which must not shrink meanwhile. A moved-from object
/// maps nothing. Throws FileError that names the file when it is missing, unreadable or not a
/// regular file.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// The same bytes as characters.
  [[nodiscard]] std::string_view text() const noexcept;
  /// As it was given, for messages.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  void reset() noexcept;

  std::string path_;
  std::span<const std::byte> bytes_;
};

/// The whole content of a small file; FileError when it cannot be read.
[[nodiscard]] std::string read_text_file(const std::filesystem::path& path);

}  // namespace halfpipe::files
