// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/ranks/host_cores.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include "engine/runtime/ranks/agreement.h"
#include "kernels/core/error.h"
#include "kernels/core/pinning.h"

namespace halfpipe::runtime {

namespace {

/// The same for all processes of a machine, those in containers included, and for no other: host
/// names are sometimes all "localhost".
std::string machine_name() {
  std::string boot_id;
  if (std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot_id)) return boot_id;
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

/// What this process may use, by itself.
HostCores own_cores() {
  HostCores cores;
  cores.cpus = cpus_by_core(usable_cpus());
  cores.cpus_are_known = !cores.cpus.empty();
  cores.sharers = {0};
  if (cores.cpus_are_known) return cores;
  cores.cpus.resize(std::max(1U, std::thread::hardware_concurrency()));
  std::iota(cores.cpus.begin(), cores.cpus.end(), 0);
  return cores;
}

std::vector<std::byte> as_message(std::string_view machine, const std::vector<int>& cpus) {
  std::vector<std::byte> message(cpus.size() * sizeof(int) + machine.size());
  std::memcpy(message.data(), cpus.data(), cpus.size() * sizeof(int));
  std::memcpy(message.data() + cpus.size() * sizeof(int), machine.data(), machine.size());
  return message;
}

/// The CPUs of a message that names this machine; none of another's.
std::vector<int> cpus_on(std::string_view machine, const std::vector<std::byte>& message) {
  if (message.size() < machine.size()) return {};
  const std::size_t cpu_bytes = message.size() - machine.size();
  if (cpu_bytes % sizeof(int) != 0 ||
      std::memcmp(message.data() + cpu_bytes, machine.data(), machine.size()) != 0) {
    return {};
  }
  std::vector<int> cpus(cpu_bytes / sizeof(int));
  std::memcpy(cpus.data(), message.data(), cpu_bytes);
  return cpus;
}

bool share_any(const std::vector<int>& one, const std::vector<int>& other) {
  return std::ranges::any_of(one,
                             [&](int cpu) { return std::ranges::find(other, cpu) != other.end(); });
}

}  // namespace

int num_threads(const config::DeviceConfig& device, const HostCores& cores) {
  if (device.threads_per_rank > 0) return device.threads_per_rank;
  const bool computes_here = device.kind == "cpu";
  const char* const variable = computes_here ? std::getenv("OMP_NUM_THREADS") : nullptr;
  if (const std::string_view text = variable == nullptr ? "" : variable; !text.empty()) {
    int threads = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), threads);
    if (error == std::errc{} && end == text.data() + text.size() && threads >= 1 &&
        threads <= config::kMostThreads) {
      return threads;
    }
    throw ConfigError(
        fmt::format("OMP_NUM_THREADS ({}) must be a whole number from 1 to {}, or not set; "
                    "device.threads_per_rank goes before it",
                    text, config::kMostThreads));
  }
  return static_cast<int>(std::max<std::size_t>(1, cores.cpus.size() / cores.sharers.size()));
}

std::vector<int> cpus_for_threads(const HostCores& cores,
                                  const std::vector<int>& counts,
                                  std::size_t position) {
  if (!cores.cpus_are_known) {
    throw ConfigError("device.pin_threads (true): the system does not say which CPUs there are");
  }
  if (cores.overlaps) {
    throw ConfigError(
        "device.pin_threads (true): ranks of this machine may use CPUs that are partly the same; "
        "let the launcher give them the same ones, or each its own");
  }
  const auto end = counts.begin() + static_cast<std::ptrdiff_t>(position);
  const int before = std::accumulate(counts.begin(), end, 0);
  const int wanted = std::accumulate(end, counts.end(), before);
  if (wanted > static_cast<int>(cores.cpus.size())) {
    throw ConfigError(fmt::format(
        "device.pin_threads (true) needs a CPU for each thread: {} with {} threads may use {}: {}",
        counts.size() == 1 ? "a rank" : fmt::format("{} ranks", counts.size()), wanted,
        cores.cpus.size() == 1 ? "1 CPU" : fmt::format("{} CPUs", cores.cpus.size()),
        fmt::join(cores.cpus, ", ")));
  }
  const auto first = cores.cpus.begin() + before;
  return {first, first + counts[position]};
}

HostCores find_host_cores(transport::Transport& transport) {
  HostCores cores = own_cores();
  const std::string machine = machine_name();
  const auto all = transport.all_gather(as_message(machine, cores.cpus));
  cores.sharers.clear();
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const std::vector<int> cpus = cpus_on(machine, all[rank]);
    if (cpus == cores.cpus) {
      cores.sharers.push_back(static_cast<int>(rank));
    } else {
      cores.overlaps = cores.overlaps || share_any(cpus, cores.cpus);
    }
  }
  return cores;
}

RankThreads agree_on_threads(const config::DeviceConfig& device, transport::Transport& transport) {
  const HostCores cores = find_host_cores(transport);
  RankThreads threads;
  agree(transport, [&] { threads.count = num_threads(device, cores); });
  if (!device.pin_threads) return threads;
  // Ranks may have different numbers of threads.
  const auto all = transport.all_gather(std::as_bytes(std::span(&threads.count, 1)));
  agree(transport, [&] {
    std::vector<int> counts;
    for (const int rank : cores.sharers) {
      counts.emplace_back();
      std::memcpy(&counts.back(), all[static_cast<std::size_t>(rank)].data(), sizeof(int));
    }
    const auto own = std::ranges::find(cores.sharers, transport.rank());
    threads.pinned_cpus =
        cpus_for_threads(cores, counts, static_cast<std::size_t>(own - cores.sharers.begin()));
  });
  return threads;
}

RankThreads own_threads(const config::DeviceConfig& device) {
  const HostCores cores = own_cores();
  RankThreads threads{num_threads(device, cores), {}};
  if (device.pin_threads) threads.pinned_cpus = cpus_for_threads(cores, {threads.count}, 0);
  return threads;
}

int planned_threads(const config::DeviceConfig& device, int num_ranks) {
  HostCores cores = own_cores();
  cores.sharers.resize(static_cast<std::size_t>(num_ranks));
  return num_threads(device, cores);
}

}  // namespace halfpipe::runtime
