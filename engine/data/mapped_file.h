// SPDX-License-Identifier: Apache-2.0
// Owner of a read-only memory-mapped file: text and token shards are read through it, so that ranks
// of one machine share the pages.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace halfpipe::data {

/// Maps a whole regular file. Throws FileError that names the file when it cannot be opened or is
/// not a regular file. The file must not shrink while mapped. A moved-from object maps nothing.
class MappedFile {
 public:
  explicit MappedFile(std::string path);
  ~MappedFile() { unmap(); }
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// The same bytes as characters.
  [[nodiscard]] std::string_view text() const noexcept;

 private:
  void unmap() noexcept;

  std::string path_;
  std::span<const std::byte> bytes_;
};

}  // namespace halfpipe::data
