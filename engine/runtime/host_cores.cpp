// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/host_cores.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include "kernels/core/error.h"
#include "kernels/core/pinning.h"

namespace halfpipe::runtime {

namespace {

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return {};
  return name.data();
}

int automatic_threads(const config::DeviceConfig& device, const HostCores& cores) {
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
  return std::max(1, static_cast<int>(cores.cpus.size()) / cores.num_sharers);
}

}  // namespace

HostCores own_cores() {
  HostCores cores{usable_cpus(), 1, 0};
  if (!cores.cpus.empty()) return cores;
  for (unsigned cpu = 0; cpu < std::max(1U, std::thread::hardware_concurrency()); ++cpu) {
    cores.cpus.push_back(static_cast<int>(cpu));
  }
  return cores;
}

HostCores find_host_cores(transport::Transport& transport) {
  HostCores cores = own_cores();
  const std::string mine = fmt::format("{}:{}", host_name(), fmt::join(cores.cpus, ","));
  const auto all = transport.all_gather(std::as_bytes(std::span(mine)));
  cores.num_sharers = 0;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (!std::ranges::equal(all[rank], std::as_bytes(std::span(mine)))) continue;
    if (static_cast<int>(rank) < transport.rank()) ++cores.position;
    ++cores.num_sharers;
  }
  return cores;
}

RankThreads resolve_threads(const config::DeviceConfig& device, const HostCores& cores) {
  RankThreads threads;
  threads.count =
      device.threads_per_rank > 0 ? device.threads_per_rank : automatic_threads(device, cores);
  if (!device.pin_threads) return threads;
  const auto count = static_cast<std::size_t>(threads.count);
  if (count * static_cast<std::size_t>(cores.num_sharers) > cores.cpus.size()) {
    throw ConfigError(fmt::format(
        "device.pin_threads (true) needs a CPU for each thread: {} of {} threads may use {} CPUs; "
        "set device.threads_per_rank, run fewer ranks, or let mpirun bind less (--bind-to none)",
        cores.num_sharers == 1 ? "1 rank" : fmt::format("{} ranks", cores.num_sharers),
        threads.count, cores.cpus.size()));
  }
  const auto first = cores.cpus.begin() + static_cast<std::ptrdiff_t>(cores.position) *
                                              static_cast<std::ptrdiff_t>(count);
  threads.pinned_cpus.assign(first, first + static_cast<std::ptrdiff_t>(count));
  return threads;
}

}  // namespace halfpipe::runtime
