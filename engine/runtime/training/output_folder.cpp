// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/output_folder.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "engine/checkpoint/checkpoint_store.h"
#include "kernels/core/error.h"

namespace halfpipe::runtime {

namespace {

namespace fs = std::filesystem;

/// Beside the other checkpoints of this run, under whatever name.
bool is_checkpoint_of(const fs::path& output_dir, const fs::path& checkpoint) {
  std::error_code absent;  // no folder is equivalent to one that is not there
  return fs::equivalent(checkpoint / "..", output_dir / "checkpoints", absent);
}

bool holds_a_run(const fs::path& output_dir) {
  return !checkpoint::list_checkpoints(output_dir).empty() ||
         fs::exists(output_dir / "metrics.jsonl");
}

}  // namespace

std::unique_ptr<files::FileLock> take_output_folder(const std::string& output_dir) {
  std::error_code error;
  fs::create_directories(output_dir, error);
  if (error) {
    throw ConfigError(
        fmt::format("output.dir ({}): cannot make it: {}", output_dir, error.message()));
  }
  auto lock = std::make_unique<files::FileLock>(fs::path(output_dir) / ".lock");
  if (lock->other_holder()) {
    throw ConfigError(fmt::format("output.dir ({}) is in use by a run with process id {}",
                                  output_dir, *lock->other_holder()));
  }
  return lock;
}

checkpoint::ResumePoint choose_start(const std::string& output_dir,
                                     const std::optional<std::string>& request) {
  if (!request) {
    if (checkpoint::list_checkpoints(output_dir).empty()) return {};
    throw ConfigError(fmt::format(
        "output.dir ({}) holds checkpoints of an earlier run: go on with --resume, or choose "
        "another folder",
        output_dir));
  }
  checkpoint::ResumePoint point = checkpoint::resolve_resume(output_dir, *request);
  if (point.directory && !is_checkpoint_of(output_dir, *point.directory) &&
      holds_a_run(output_dir)) {
    throw ConfigError(
        fmt::format("output.dir ({}) holds another run than the checkpoint {}: to go on from it, "
                    "choose another folder",
                    output_dir, point.directory->string()));
  }
  return point;
}

}  // namespace halfpipe::runtime
