// SPDX-License-Identifier: Apache-2.0
// Writing files that are either whole or absent.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace halfpipe::checkpoint {

/// A file being written as `<path>.partial`; commit() flushes it to the disk and gives it its name,
/// replacing a file of that name. Destroyed without commit(), it leaves nothing. Every failure
/// (disk full, file-size limit, unwritable folder) is a RuntimeFailure that names the file and the
/// system's reason; SIGXFSZ never reaches the process.
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  void write_zeros(std::size_t bytes);
  /// Durable only once the folder is flushed too: sync_directory.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path partial_path_;
  int descriptor_ = -1;
};

/// Writes and commits a whole file.
void write_file(const std::filesystem::path& path, std::string_view text);

/// Makes the names in a folder (creations, renames, removals) durable.
void sync_directory(const std::filesystem::path& directory);

}  // namespace halfpipe::checkpoint
