// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/grid_runner.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace halfpipe::cuda_emulation {
namespace {

/// Blocks of one launch, handed out one by one.
class Grid {
 public:
  explicit Grid(const Launch& launch)
      : launch_(launch),
        num_blocks_(std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z) {}

  [[nodiscard]] std::uint64_t num_blocks() const { return num_blocks_; }

  /// Runs blocks until none is left to start.
  void run_blocks() {
    static thread_local BlockRunner runner;
    runner.begin(launch_);
    for (;;) {
      std::uint64_t i = next_.fetch_add(1);
      if (i >= num_blocks_) return;
      if (launch_.schedule.order == Order::kReverse) i = num_blocks_ - 1 - i;
      const dim3 grid = launch_.grid;
      runner.run_block({static_cast<unsigned>(i % grid.x),
                        static_cast<unsigned>(i / grid.x % grid.y),
                        static_cast<unsigned>(i / (std::uint64_t{grid.x} * grid.y))});
    }
  }

 private:
  const Launch& launch_;
  std::uint64_t num_blocks_;
  std::atomic<std::uint64_t> next_{0};
};

/// Threads that help the one that launches. Never destroyed: the process may end within a kernel.
class Helpers {
 public:
  explicit Helpers(unsigned count) : count_(count) {
    for (unsigned i = 0; i < count; ++i) std::thread([this] { help(); }).detach();
  }

  /// Runs the grid on the calling thread and, unless another launch has them, the helpers.
  void run(Grid& grid) {
    const std::unique_lock one_launch(launching_, std::try_to_lock);
    if (!one_launch.owns_lock() || count_ == 0 || grid.num_blocks() == 1) {
      grid.run_blocks();
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      grid_ = &grid;
      num_running_ = count_;
      ++generation_;
    }
    start_.notify_all();
    grid.run_blocks();
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [this] { return num_running_ == 0; });
  }

 private:
  [[noreturn]] void help() {
    std::uint64_t seen = 0;
    for (;;) {
      Grid* grid = nullptr;
      {
        std::unique_lock lock(mutex_);
        start_.wait(lock, [&] { return generation_ != seen; });
        seen = generation_;
        grid = grid_;
      }
      grid->run_blocks();
      const std::lock_guard lock(mutex_);
      if (--num_running_ == 0) finished_.notify_all();
    }
  }

  unsigned count_;
  std::mutex launching_;
  std::mutex mutex_;
  std::condition_variable start_;
  std::condition_variable finished_;
  Grid* grid_ = nullptr;
  unsigned num_running_ = 0;
  std::uint64_t generation_ = 0;
};

Helpers& helpers() {
  // The child of a fork has no threads but the one that forked: it starts helpers of its own.
  static std::atomic<Helpers*> instance{nullptr};
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { instance = nullptr; }); });
  Helpers* now = instance;
  if (now == nullptr) {
    static std::mutex making;
    const std::lock_guard lock(making);
    now = instance;
    if (now == nullptr) {
      now = new Helpers(std::max(1U, std::thread::hardware_concurrency()) - 1);
      instance = now;
    }
  }
  return *now;
}

}  // namespace

void run_grid(const Launch& launch) {
  Grid grid(launch);
  helpers().run(grid);
}

}  // namespace halfpipe::cuda_emulation
