// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/ranks/machine_memory.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

namespace halfpipe::runtime {

namespace {

namespace fs = std::filesystem;

/// The whole number that `text` begins with.
template <typename Number>
std::optional<Number> leading_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  return number;
}

std::int64_t physical_bytes(const fs::path& root) {
  constexpr std::string_view kKey = "MemTotal:";
  constexpr std::int64_t kKibibyte = 1024;
  std::ifstream file(root / "proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(kKey)) continue;
    const std::size_t digits = line.find_first_not_of(' ', kKey.size());
    if (digits == std::string::npos) break;
    const auto kibibytes = leading_number<std::int64_t>(std::string_view(line).substr(digits));
    if (kibibytes) return *kibibytes * kKibibyte;
  }
  return std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
}

/// The smallest limit of a group and of those around it, up to where the groups are mounted.
/// Version 1 writes a number beyond any machine for none, version 2 "max", which is no number.
/// Groups that are not there are passed over: a container sees its own name as the host calls it,
/// and its own group as the topmost.
std::int64_t smallest_limit(const fs::path& mount,
                            std::string_view group,
                            std::string_view file,
                            std::int64_t bytes) {
  fs::path path = fs::path("/").append(group).lexically_normal().relative_path();
  for (;;) {
    std::ifstream stream(mount / path / file);
    std::string text;
    if (std::getline(stream, text)) {
      const auto limit = leading_number<std::int64_t>(text);
      if (limit && *limit > 0) bytes = std::min(bytes, *limit);
    }
    if (path.empty()) return bytes;
    path = path.parent_path();
  }
}

/// "a,memory,b" has "memory".
bool has_word(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const std::string_view first = list.substr(0, list.find(','));
    if (first == word) return true;
    list.remove_prefix(std::min(list.size(), first.size() + 1));
  }
  return false;
}

/// "4(x2),3": four tasks on each of two machines, three on another.
std::optional<int> largest_of_slurm(std::string_view text) {
  std::optional<int> largest;
  while (!text.empty()) {
    const std::optional<int> tasks = leading_number<int>(text);
    if (!tasks) return std::nullopt;
    largest = std::max(largest.value_or(0), *tasks);
    const std::size_t comma = text.find(',');
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return largest;
}

struct Launcher {
  const char* num_ranks;
  const char* on_this_machine;
};

constexpr std::array kLaunchers{
    Launcher{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"},
    Launcher{"PMI_SIZE", "MPI_LOCALNRANKS"},
    Launcher{"PMI_SIZE", "PMI_LOCAL_SIZE"},
    Launcher{"SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE"},
};

}  // namespace

std::int64_t memory_of_machine(const fs::path& root) {
  std::int64_t bytes = physical_bytes(root);
  const fs::path mount = root / "sys/fs/cgroup";
  // Lines are "number:controllers:group"; version 2 has number 0 and no controllers.
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string_view text = line;
    const std::string_view controllers = text.substr(first + 1, second - first - 1);
    const std::string_view group = text.substr(second + 1);
    if (controllers.empty()) {
      bytes = smallest_limit(mount, group, "memory.max", bytes);
    } else if (has_word(controllers, "memory")) {
      bytes = smallest_limit(mount / "memory", group, "memory.limit_in_bytes", bytes);
    }
  }
  return bytes;
}

const char* variable_of_process(const char* name) {
  return std::getenv(name);
}

int ranks_on_this_machine(int num_ranks, const Environment& variable) {
  for (const Launcher& launcher : kLaunchers) {
    const char* const all = variable(launcher.num_ranks);
    const char* const here = variable(launcher.on_this_machine);
    if (all == nullptr || here == nullptr) continue;
    if (leading_number<int>(all) != num_ranks) continue;
    const std::optional<int> number = largest_of_slurm(here);
    if (number && *number >= 1 && *number <= num_ranks) return *number;
  }
  return num_ranks;
}

}  // namespace halfpipe::runtime
