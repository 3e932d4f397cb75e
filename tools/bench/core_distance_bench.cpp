// SPDX-License-Identifier: Apache-2.0
// How far apart the CPUs are: nanoseconds until a word that one writes is seen by another, from the
// first CPU of the process to the farthest. On an AMD EPYC (Zen 4, a virtual machine) 36 to 50 in
// one minute and 166 to 191 in the next: virtual CPUs share a cache, and then do not.
// Usage: core_distance_bench; prints nanoseconds, 0 where there is one CPU.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "kernels/core/pinning.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRoundTrips = 20000;
constexpr int kTries = 3;  // other work on the machine only ever adds time

struct alignas(64) Word {
  std::atomic<int> value{0};
  void wait_for(int expected) const {
    while (value.load(std::memory_order_acquire) != expected) {
    }
  }
};

/// One way, of the thread that calls and another one on `cpu`.
double nanoseconds_to(int cpu) {
  Word word;
  std::thread other([&] {
    const halfpipe::PinnedThread pinned(cpu);
    for (int i = 0; i < kRoundTrips; ++i) {
      word.wait_for(2 * i + 1);
      word.value.store(2 * i + 2, std::memory_order_release);
    }
  });
  word.value.store(1, std::memory_order_release);
  word.wait_for(2);  // it has started
  const auto start = Clock::now();
  for (int i = 1; i < kRoundTrips; ++i) {
    word.value.store(2 * i + 1, std::memory_order_release);
    word.wait_for(2 * i + 2);
  }
  const std::chrono::duration<double, std::nano> elapsed = Clock::now() - start;
  other.join();
  return elapsed.count() / (2 * (kRoundTrips - 1));
}

}  // namespace

int main() {
  const std::vector<int> cpus = halfpipe::usable_cpus();
  const halfpipe::PinnedThread pinned(cpus.front());
  double farthest = 0.0;
  for (const int cpu : cpus) {
    if (cpu == cpus.front()) continue;
    double nearest = nanoseconds_to(cpu);
    for (int i = 1; i < kTries; ++i) nearest = std::min(nearest, nanoseconds_to(cpu));
    farthest = std::max(farthest, nearest);
  }
  fmt::print("{:.0f}\n", farthest);
}
