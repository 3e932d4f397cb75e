// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/resume.h"

#include "engine/checkpoint/checkpoint_store.h"
#include "engine/checkpoint/manifest.h"
#include "engine/checkpoint/trainer_state.h"
#include "kernels/core/error.h"

#include <fmt/format.h>

namespace halfpipe::checkpoint {
namespace {

namespace fs = std::filesystem;

/// A copy under a later name would be gone on from, and set aside as later than its own step.
void check_step(const CheckpointEntry& entry) {
  const std::int64_t step = read_trainer_state(entry.directory).step;
  if (step == entry.step) return;
  throw FileError(fmt::format("{}: step ({}) must be that of the folder's name",
                              (entry.directory / "trainer.json").string(), step));
}

ResumePoint newest_whole(const fs::path& output_dir) {
  ResumePoint point;
  for (const CheckpointEntry& entry : list_checkpoints(output_dir)) {
    try {
      verify_directory(entry.directory);
      check_step(entry);
      point.directory = entry.directory;
      return point;
    } catch (const FileError& error) {
      point.warnings.push_back(fmt::format("checkpoint {} is not whole and is passed over: {}",
                                           entry.directory.string(), error.what()));
    }
  }
  if (!point.warnings.empty()) {
    throw FileError(fmt::format(
        "no checkpoint of {} is whole; the newest: {}. To start anew, do not resume or choose "
        "another output.dir",
        output_dir.string(), point.warnings.front()));
  }
  return point;
}

}  // namespace

ResumePoint resolve_resume(const fs::path& output_dir, const std::string& request) {
  if (request == "auto") return newest_whole(output_dir);
  const fs::path path(request);
  const fs::path directory = fs::exists(path / kManifestName) ? path : locate_checkpoint(path);
  verify_directory(directory);
  return {directory, {}};
}

fs::path locate_checkpoint(const fs::path& path) {
  constexpr const char* kConfigName = "config.json";
  if (!fs::is_directory(path)) throw FileError(path.string() + ": no such checkpoint directory");
  if (fs::exists(path / kConfigName)) return path;
  auto latest = find_latest(path);
  const fs::path folder = fs::weakly_canonical(path);
  if (!latest && folder.filename() == "checkpoints") latest = find_latest(folder.parent_path());
  if (latest) return *latest;
  throw FileError(fmt::format("{}: neither a checkpoint (it has no {}) nor the folder of a run",
                              path.string(), kConfigName));
}

void verify_if_ours(const fs::path& directory) {
  if (fs::exists(directory / kManifestName)) verify_directory(directory);
}

}  // namespace halfpipe::checkpoint
