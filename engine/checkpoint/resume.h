// SPDX-License-Identifier: Apache-2.0
// Which checkpoint a command reads.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace halfpipe::checkpoint {

struct ResumePoint {
  std::optional<std::filesystem::path> directory;  // absent: there is no checkpoint, start anew
  std::vector<std::string> warnings;               // one for each damaged checkpoint passed over
};

/// What `--resume auto|PATH` means for a run. "auto": the newest checkpoint of `output_dir` that
/// verifies and is of the step that its folder is named after; FileError when there are checkpoints
/// and none is whole, since starting anew would train all of it again unasked. A PATH (a
/// checkpoint, or what locate_checkpoint takes) must verify: FileError naming the damaged file.
[[nodiscard]] ResumePoint resolve_resume(const std::filesystem::path& output_dir,
                                         const std::string& request);

/// The checkpoint or model directory that a user means by `path`: a directory with a config.json,
/// or a run's output.dir or its folder `checkpoints`, for the latest there. FileError for anything
/// else. Verifies nothing.
[[nodiscard]] std::filesystem::path locate_checkpoint(const std::filesystem::path& path);

/// Checks every byte of a directory that has a manifest, which all of ours have (FileError naming
/// the damaged file); any other directory passes.
void verify_if_ours(const std::filesystem::path& directory);

}  // namespace halfpipe::checkpoint
