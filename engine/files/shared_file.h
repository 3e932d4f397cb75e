// SPDX-License-Identifier: Apache-2.0
// A file that several processes write together, each its own parts, and that is whole or absent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace halfpipe::files {

/// Bytes and where in a file they belong.
struct FileRun {
  std::int64_t offset;
  std::span<const std::byte> bytes;
};

/// One process creates the file, under a hidden name that is the same for all of them; then the
/// others may write; when all have closed it, the one that created it gives it its name. The folder
/// belongs to these processes. Destroyed without commit(), a file that was created here is removed.
/// Every failure is a RuntimeFailure that names the file and the system's reason; SIGXFSZ never
/// reaches the process.
class SharedFile {
 public:
  /// Touches no file.
  explicit SharedFile(std::filesystem::path path);
  ~SharedFile();
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;

  /// Of its full size, all zeros, which take no space on the disk yet.
  void create(std::int64_t bytes);
  /// Within the size. Runs may be small; large ones are written as they are.
  void write(std::span<const FileRun> runs);
  /// Flushes to the disk what this process wrote, if anything; nothing may be written after it.
  void close();
  /// The rename. Durable only once the folder is flushed too: sync_directory.
  void commit();

  /// As it was given.
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  std::string partial_path_;
  int descriptor_ = -1;
  bool is_closed_ = false;
  bool is_ours_to_remove_ = false;
};

}  // namespace halfpipe::files
