// SPDX-License-Identifier: Apache-2.0
// Writing files that are either whole or absent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace halfpipe::files {

/// A file being written under a hidden name of this process beside its own; commit() flushes it to
/// the disk and gives it its name, replacing a file of that name. Destroyed without commit(), it
/// leaves nothing. Every failure (disk full, file-size limit, unwritable folder, a device or pipe
/// of that name) is a RuntimeFailure that names the file and the system's reason; SIGXFSZ never
/// reaches the process. Not buffered: write large pieces. Neither copied nor moved: hold it by
/// std::unique_ptr.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// At the end of the file.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  void write_zeros(std::size_t bytes);
  /// Replaces bytes written before, from `offset` on.
  void overwrite(std::int64_t offset, std::span<const std::byte> bytes);
  /// Flushes to the disk; nothing may be written after it. Called first on each of several files,
  /// it leaves commit() only a rename, so that they appear together.
  void close();
  /// close() where that was not called; then the rename. Durable only once the folder is flushed
  /// too: sync_directory.
  void commit();

  /// As it was given, for messages.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
  std::string partial_path_;
  int descriptor_ = -1;
  bool committed_ = false;
};

/// Writes and commits a whole file.
void write_file(const std::filesystem::path& path, std::string_view text);

/// Makes the names in a folder (creations, renames, removals) durable.
void sync_directory(const std::filesystem::path& directory);

}  // namespace halfpipe::files
