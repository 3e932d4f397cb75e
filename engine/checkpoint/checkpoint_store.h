// SPDX-License-Identifier: Apache-2.0
// The checkpoints of a run: `<output.dir>/checkpoints/step-00000500/`, and a link `latest` to the
// newest.
//
// Saving, for any number of ranks on a shared file system:
//   rank 0: begin(step)                     makes `.tmp-step-00000500`; then a barrier
//   ranks:  write files into working_directory(step); then agree that all succeeded
//   rank 0: finish(step), or abandon(step)
// A checkpoint gets its name only when it is whole and on the disk, so a crash at any moment leaves
// the ones before it as they were. What crashes leave behind is mended by the next run's prepare()
// and removed by its clear_leftovers().
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace halfpipe::checkpoint {

struct CheckpointEntry {
  std::int64_t step;
  std::filesystem::path directory;
};

/// Every `step-*` folder of a run, whole or not, newest (highest step) first; empty when there is
/// none.
[[nodiscard]] std::vector<CheckpointEntry> list_checkpoints(
    const std::filesystem::path& output_dir);

/// What `latest` points to, or the newest when that is gone; absent when there is none. Verifies
/// nothing.
[[nodiscard]] std::optional<std::filesystem::path> find_latest(
    const std::filesystem::path& output_dir);

class CheckpointStore {
 public:
  /// `keep`: checkpoints that stay after a save, the newest included; 0 keeps all. Touches no file.
  CheckpointStore(std::filesystem::path output_dir, int keep);

  /// Rank 0, once, before anything is read: makes the folder, and gives a checkpoint its name back
  /// that a crash left without. ConfigError naming output.dir when the folder cannot be made, or
  /// when `latest` is a folder, which no link can replace.
  void prepare();
  /// Rank 0, once, before the first step: removes the other leftovers of crashed runs.
  void clear_leftovers();
  /// Rank 0, on resuming from `step`: later checkpoints belong to a continuation that is given up,
  /// so they are renamed to `set-aside-step-*` (never deleted) and no longer count. Returns their
  /// new names.
  std::vector<std::filesystem::path> set_aside_after(std::int64_t step);

  /// Rank 0. Returns working_directory(step), empty.
  std::filesystem::path begin(std::int64_t step);
  [[nodiscard]] std::filesystem::path working_directory(std::int64_t step) const;
  /// Rank 0: the four steps below. Returns the checkpoint's directory. Failures are RuntimeFailures
  /// that name the file.
  std::filesystem::path finish(std::int64_t step);
  /// Rank 0: removes working_directory(step); never throws.
  void abandon(std::int64_t step) noexcept;

  /// The steps of finish(), in their order: each leaves a state from which every whole checkpoint
  /// can be resumed. First the manifest; then every file is on the disk.
  void seal(std::int64_t step);
  /// The folder gets its name; one of that step from before is replaced.
  void publish(std::int64_t step);
  /// `latest` is replaced.
  void point_latest(std::int64_t step);
  /// The oldest ones beyond `keep` go; never the newest, never `step`.
  void prune(std::int64_t step);

  [[nodiscard]] std::filesystem::path directory_of(std::int64_t step) const;

 private:
  std::filesystem::path checkpoints_;
  std::filesystem::path output_dir_;
  int keep_;
};

}  // namespace halfpipe::checkpoint
