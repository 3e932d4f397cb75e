// SPDX-License-Identifier: Apache-2.0
// A search runs in lanes: streams of work that do not talk to each other between two meetings, so
// that their number, and not the number of cores or their speed, decides what a counted search
// finds.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "parallel/schedule/search/budget.h"
#include "parallel/schedule/search/random.h"

namespace halfpipe::schedule {

struct Lane {
  std::size_t index;
  BudgetShare budget;
  Random random;
};

/// As many as threads, or a fixed number where evaluations are counted.
[[nodiscard]] inline std::vector<Lane> make_lanes(const SearchBudget& budget) {
  constexpr int kCountedLanes = 4;
  const int count = budget.evaluations > 0 ? kCountedLanes : std::max(1, budget.num_threads);
  const auto start = BudgetShare::Clock::now();
  std::vector<Lane> lanes;
  for (int lane = 0; lane < count; ++lane) {
    const auto index = static_cast<std::size_t>(lane);
    lanes.push_back({index, BudgetShare(budget, count, start), Random(budget.seed * 1009 + index)});
  }
  return lanes;
}

/// work(0), .. work(num_tasks - 1) on up to num_threads threads; returns when all are done. What
/// one of them throws is thrown here, in place of the tasks that have not begun.
template <typename Work>
void run_in_parallel(std::size_t num_tasks, int num_threads, const Work& work) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr thrown;
  const auto run = [&] {
    try {
      for (std::size_t task = next++; task < num_tasks; task = next++) work(task);
    } catch (...) {
      next = num_tasks;
      const std::lock_guard lock(mutex);
      if (!thrown) thrown = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    const int wanted = std::min(num_threads, static_cast<int>(num_tasks));
    for (int i = 1; i < wanted; ++i) threads.emplace_back(run);
    run();
  }
  if (thrown) std::rethrow_exception(thrown);
}

/// work(lane) for every lane, likewise.
template <typename Work>
void run_lanes(std::vector<Lane>& lanes, int num_threads, const Work& work) {
  run_in_parallel(lanes.size(), num_threads, [&](std::size_t lane) { work(lanes[lane]); });
}

}  // namespace halfpipe::schedule
