// SPDX-License-Identifier: Apache-2.0
#include "engine/files/shared_file.h"

#include "engine/files/write_calls.h"
#include "kernels/core/error.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

namespace halfpipe::files {

SharedFile::SharedFile(std::filesystem::path path)
    : path_(std::move(path)),
      partial_path_(
          (path_.parent_path() / fmt::format(".{}.partial", path_.filename().string())).string()) {}

SharedFile::~SharedFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (is_ours_to_remove_) ::unlink(partial_path_.c_str());
}

void SharedFile::create(std::int64_t bytes) {
  HALFPIPE_CHECK(descriptor_ < 0 && !is_closed_, "a file is created once, before it is written");
  constexpr mode_t kMode = 0666;  // the user's umask decides
  descriptor_ = ::open(partial_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kMode);
  if (descriptor_ < 0) fail_with_errno("create", path_.string());
  is_ours_to_remove_ = true;
  const FileSizeSignalBlock block;
  if (::ftruncate(descriptor_, bytes) != 0) fail_with_errno("write", path_.string());
}

void SharedFile::write(std::span<const FileRun> runs) {
  HALFPIPE_CHECK(!is_closed_, "nothing is written after close()");
  if (runs.empty()) return;
  if (descriptor_ < 0) descriptor_ = ::open(partial_path_.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail_with_errno("open", path_.string());
  const FileSizeSignalBlock block;  // one for all: runs of a column slice are many
  for (const FileRun& run : runs) write_all_at(descriptor_, run.offset, run.bytes, path_.string());
}

void SharedFile::close() {
  HALFPIPE_CHECK(!is_closed_, "the file is closed once");
  is_closed_ = true;
  if (descriptor_ < 0) return;
  if (::fsync(descriptor_) != 0) fail_with_errno("flush", path_.string());
  // Some network file systems report a full disk only here.
  if (::close(std::exchange(descriptor_, -1)) != 0) fail_with_errno("finish", path_.string());
}

void SharedFile::commit() {
  HALFPIPE_CHECK(is_closed_ && is_ours_to_remove_, "who created a file commits it, closed, once");
  if (std::rename(partial_path_.c_str(), path_.c_str()) != 0) {
    fail_with_errno("finish", path_.string());
  }
  is_ours_to_remove_ = false;
}

}  // namespace halfpipe::files
