// SPDX-License-Identifier: Apache-2.0
// output.dir as a run finds it: whose it is, and what it goes on from. All of it is rank 0's.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/checkpoint/resume.h"
#include "engine/files/file_lock.h"

namespace halfpipe::runtime {

/// Makes output.dir and takes it for this run, until the lock is destroyed or the process ends.
/// ConfigError naming output.dir when it cannot be made or another run has it.
[[nodiscard]] std::unique_ptr<files::FileLock> take_output_folder(const std::string& output_dir);

/// The checkpoint that `--resume request` means, verified; nothing for a run that starts anew. No
/// two runs come into one folder: ConfigError naming output.dir when it holds a run and there is no
/// request, or one for a checkpoint that lies elsewhere.
[[nodiscard]] checkpoint::ResumePoint choose_start(const std::string& output_dir,
                                                   const std::optional<std::string>& request);

}  // namespace halfpipe::runtime
