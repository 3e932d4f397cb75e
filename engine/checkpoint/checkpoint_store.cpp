// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/checkpoint_store.h"

#include "engine/checkpoint/manifest.h"
#include "engine/files/output_file.h"
#include "kernels/core/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <string_view>
#include <thread>
#include <utility>

namespace halfpipe::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolder = "checkpoints";
constexpr const char* kLatest = "latest";
constexpr const char* kLatestPartial = ".latest.partial";
constexpr std::string_view kWorking = ".tmp-";        // being written
constexpr std::string_view kReplaced = ".replaced-";  // moved away for a new one of the same step
constexpr std::string_view kRemoved = ".removed-";    // being deleted
constexpr std::string_view kSetAside = "set-aside-";

std::string step_name(std::int64_t step) {
  return fmt::format("step-{:08}", step);
}

/// The step of `step-00000500`; absent for every other name.
std::optional<std::int64_t> parse_step_name(std::string_view name) {
  constexpr std::string_view kPrefix = "step-";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kPrefix.size());
  std::int64_t step = -1;
  std::from_chars(digits.data(), digits.data() + digits.size(), step);
  return step >= 0 && step_name(step) == name ? std::optional(step) : std::nullopt;
}

/// The step name behind a prefix of ours; empty for every other name.
std::string step_name_behind(std::string_view prefix, const std::string& name) {
  if (!name.starts_with(prefix)) return {};
  std::string rest = name.substr(prefix.size());
  return parse_step_name(rest) ? rest : std::string();
}

/// Runs a part of saving: what fails in it is the machine's fault, not the user's.
template <typename Operation>
void attempt(Operation operation) {
  try {
    operation();
  } catch (const fs::filesystem_error& error) {
    throw RuntimeFailure(
        fmt::format("cannot change {}: {}", error.path1().string(), error.code().message()));
  } catch (const FileError& error) {
    throw RuntimeFailure(error.what());
  }
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(directory, error))
    names.push_back(item.path().filename().string());
  return names;
}

}  // namespace

std::vector<CheckpointEntry> list_checkpoints(const fs::path& output_dir) {
  std::vector<CheckpointEntry> entries;
  const fs::path checkpoints = output_dir / kFolder;
  for (const std::string& name : names_in(checkpoints)) {
    const auto step = parse_step_name(name);
    if (step && fs::is_directory(checkpoints / name))
      entries.push_back({*step, checkpoints / name});
  }
  std::ranges::sort(entries, std::ranges::greater{}, &CheckpointEntry::step);
  return entries;
}

std::optional<fs::path> find_latest(const fs::path& output_dir) {
  const fs::path link = output_dir / kFolder / kLatest;
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  if (!error && fs::is_directory(link)) return link.parent_path() / target;
  const auto entries = list_checkpoints(output_dir);
  return entries.empty() ? std::nullopt : std::optional(entries.front().directory);
}

CheckpointStore::CheckpointStore(fs::path output_dir, int keep)
    : checkpoints_(output_dir / kFolder), output_dir_(std::move(output_dir)), keep_(keep) {}

void CheckpointStore::prepare() {
  std::error_code error;
  fs::create_directories(checkpoints_, error);
  if (error) {
    throw ConfigError(fmt::format("output.dir ({}): cannot make {}: {}", output_dir_.string(),
                                  checkpoints_.string(), error.message()));
  }
  const fs::path latest = checkpoints_ / kLatest;
  if (fs::symlink_status(latest, error).type() == fs::file_type::directory) {
    throw ConfigError(fmt::format("output.dir ({}): {} is a folder, it must be a link or absent",
                                  output_dir_.string(), latest.string()));
  }
  attempt([this] {
    for (const std::string& name : names_in(checkpoints_)) {
      const std::string replaced = step_name_behind(kReplaced, name);
      // The crash came between the two renames of publish(): the old one is the only one.
      if (!replaced.empty() && !fs::exists(checkpoints_ / replaced))
        fs::rename(checkpoints_ / name, checkpoints_ / replaced);
    }
  });
}

void CheckpointStore::clear_leftovers() {
  attempt([this] {
    for (const std::string& name : names_in(checkpoints_)) {
      const bool is_leftover =
          name == kLatestPartial ||
          std::ranges::any_of(std::array{kWorking, kReplaced, kRemoved},
                              [&](auto prefix) { return !step_name_behind(prefix, name).empty(); });
      if (is_leftover) fs::remove_all(checkpoints_ / name);
    }
  });
}

std::vector<fs::path> CheckpointStore::set_aside_after(std::int64_t step) {
  std::vector<fs::path> moved;
  attempt([&] {
    for (const CheckpointEntry& entry : list_checkpoints(output_dir_)) {
      if (entry.step <= step) break;
      const std::string name = fmt::format("{}{}", kSetAside, step_name(entry.step));
      fs::path target = checkpoints_ / name;
      for (int copy = 2; fs::exists(target); ++copy)
        target = checkpoints_ / fmt::format("{}-{}", name, copy);
      fs::rename(entry.directory, target);
      moved.push_back(std::move(target));
    }
  });
  if (moved.empty()) return moved;
  if (fs::is_directory(directory_of(step))) {
    point_latest(step);
  } else {
    attempt([this] {
      fs::remove(checkpoints_ / kLatest);
    });  // it named one of them, and the run starts from elsewhere
  }
  return moved;
}

fs::path CheckpointStore::begin(std::int64_t step) {
  fs::path working = working_directory(step);
  attempt([&] {
    fs::remove_all(working);
    fs::create_directories(working);
  });
  return working;
}

fs::path CheckpointStore::working_directory(std::int64_t step) const {
  return checkpoints_ / fmt::format("{}{}", kWorking, step_name(step));
}

fs::path CheckpointStore::finish(std::int64_t step) {
  seal(step);
  publish(step);
  point_latest(step);
  prune(step);
  return directory_of(step);
}

void CheckpointStore::abandon(std::int64_t step) noexcept {
  // Other ranks remove their own files meanwhile, and remove_all stops at one that is gone when its
  // turn comes. What stays in the end is cleared by the next run.
  constexpr int kAttempts = 20;
  std::error_code error;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    fs::remove_all(working_directory(step), error);
    if (!error) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void CheckpointStore::seal(std::int64_t step) {
  // The other files were flushed when they were written.
  attempt([&] { write_manifest(working_directory(step)); });
  files::sync_directory(working_directory(step));
}

void CheckpointStore::publish(std::int64_t step) {
  const fs::path target = directory_of(step);
  const fs::path replaced = checkpoints_ / fmt::format("{}{}", kReplaced, step_name(step));
  attempt([&] {
    fs::remove_all(replaced);
    if (fs::exists(target)) fs::rename(target, replaced);
    fs::rename(working_directory(step), target);
  });
  files::sync_directory(checkpoints_);
  attempt([&] { fs::remove_all(replaced); });
}

void CheckpointStore::point_latest(std::int64_t step) {
  attempt([&] {
    const fs::path partial = checkpoints_ / kLatestPartial;
    fs::remove(partial);
    fs::create_directory_symlink(step_name(step), partial);
    fs::rename(partial, checkpoints_ / kLatest);
  });
  files::sync_directory(checkpoints_);
}

void CheckpointStore::prune(std::int64_t step) {
  if (keep_ == 0) return;
  int kept = 0;
  for (const CheckpointEntry& entry : list_checkpoints(output_dir_)) {
    if (!fs::exists(entry.directory / kManifestName)) continue;  // not one of ours
    if (kept == 0 || kept < keep_ || entry.step == step) {
      ++kept;
      continue;
    }
    // Renamed first: a crash while deleting must not leave half a checkpoint under a good name.
    const fs::path removed = checkpoints_ / fmt::format("{}{}", kRemoved, step_name(entry.step));
    attempt([&] {
      fs::remove_all(removed);
      fs::rename(entry.directory, removed);
      fs::remove_all(removed);
    });
  }
}

fs::path CheckpointStore::directory_of(std::int64_t step) const {
  return checkpoints_ / step_name(step);
}

}  // namespace halfpipe::checkpoint
