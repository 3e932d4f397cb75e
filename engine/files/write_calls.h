// SPDX-License-Identifier: Apache-2.0
// Writing by POSIX calls, which unlike streams say why they fail.
#pragma once

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace halfpipe::files {

/// RuntimeFailure "cannot WHAT PATH: the reason in errno".
[[noreturn]] void fail_with_errno(std::string_view what, const std::string& path);

/// While alive, SIGXFSZ (sent to the thread whose write meets the file-size limit) cannot end the
/// process: the call returns EFBIG instead. Blocking it in this thread keeps the process's own
/// signal handlers as they are, which ignoring it would not.
class FileSizeSignalBlock {
 public:
  FileSizeSignalBlock();
  ~FileSizeSignalBlock();
  FileSizeSignalBlock(const FileSizeSignalBlock&) = delete;
  FileSizeSignalBlock& operator=(const FileSizeSignalBlock&) = delete;

 private:
  sigset_t signals_{};
  sigset_t previous_{};
};

/// All of the bytes, or a RuntimeFailure that names `path`. To be called with SIGXFSZ blocked.
void write_all(int descriptor, std::span<const std::byte> bytes, const std::string& path);
/// The same from byte `offset` of the file on.
void write_all_at(int descriptor,
                  std::int64_t offset,
                  std::span<const std::byte> bytes,
                  const std::string& path);

}  // namespace halfpipe::files
