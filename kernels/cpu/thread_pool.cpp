// SPDX-License-Identifier: Apache-2.0
// Threads that claim tasks of one job at a time, each from its own share of them first and then
// from the others': rows of an activation stay with a thread from one operation to the next, in its
// caches, as long as the threads are equally fast. A worker that wakes up late finds the job
// closed: nobody ever waits for a thread that has nothing to do, which matters where ranks
// outnumber cores.
#include "kernels/cpu/thread_pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/core/pinning.h"
#include "kernels/core/signal_block.h"

namespace halfpipe::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// The gap between two kernels of a layer is a few microseconds, waking a sleeper costs 5-50 us.
constexpr auto kSpinTime = std::chrono::microseconds(40);
constexpr std::uint64_t kTaskBits = 32;
constexpr std::uint64_t kTaskMask = (std::uint64_t{1} << kTaskBits) - 1;

thread_local int current_thread_index = 0;

// Threads of all pools of the process: ranks may be threads, and spinning while another rank has
// work for the core only takes time away from it.
std::atomic<int> num_live_threads{0};

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

/// Spins until done() or for kSpinTime; returns done().
template <typename Done>
bool spin_until(Done done) {
  static const int num_cores = static_cast<int>(std::thread::hardware_concurrency());
  if (done()) return true;
  if (num_live_threads.load(std::memory_order_relaxed) > num_cores) return false;
  const auto deadline = Clock::now() + kSpinTime;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      pause_briefly();
    }
  } while (Clock::now() < deadline);
  return false;
}

}  // namespace

// The number of the job in the high half and the share's next task in the low half.
struct alignas(64) Claim {
  std::atomic<std::uint64_t> value{0};
};

// The fields of a job are atomics because a late worker may read them while the next job is
// written; it then fails to claim a task (the job number has changed) and drops what it read. A
// stale worker is fooled only if exactly 2^32 jobs pass between its two reads.
struct ThreadPool::State {
  explicit State(int threads) : num_threads(threads), claims(static_cast<std::size_t>(threads)) {
    num_live_threads += threads;
  }
  ~State();

  void open_job(std::int64_t count, const TaskRef* task_body);
  void run_tasks(int thread);
  void run_share(int share);
  [[nodiscard]] std::atomic<std::uint64_t>& claim_of(int share) {
    return claims[static_cast<std::size_t>(share)].value;
  }
  /// The end of a share and the beginning of the next, of `count` tasks.
  [[nodiscard]] std::int64_t end_of(int share, std::int64_t count) const {
    return count * (share + 1) / num_threads;
  }
  void run_worker(int index);
  void wait_for_tasks();

  const int num_threads;
  std::vector<std::thread> workers;
  std::optional<PinnedThread> pinned_caller;

  std::vector<Claim> claims;  // a share for each thread
  alignas(64) std::atomic<std::int64_t> num_tasks{0};
  std::atomic<const TaskRef*> body{nullptr};
  alignas(64) std::atomic<std::int64_t> num_unfinished{0};

  alignas(64) std::mutex mutex;
  std::condition_variable job_opened;
  std::condition_variable job_done;
  std::atomic<int> num_sleeping{0};       // workers waiting for job_opened
  std::atomic<bool> caller_waits{false};  // on job_done
  std::atomic<bool> stop{false};
};

ThreadPool::State::~State() {
  {
    const std::lock_guard lock(mutex);
    stop = true;
  }
  job_opened.notify_all();
  for (std::thread& worker : workers) worker.join();
  num_live_threads -= num_threads;
}

void ThreadPool::State::open_job(std::int64_t count, const TaskRef* task_body) {
  const std::uint64_t job = claim_of(0).load(std::memory_order_relaxed) >> kTaskBits;
  // Closed before its fields change: else a late worker could pair the old job's counters with the
  // new job's fields. Release and acquire on the fields keep that order.
  for (Claim& claim : claims) {
    claim.value.store((job << kTaskBits) | kTaskMask, std::memory_order_relaxed);
  }
  body.store(task_body, std::memory_order_release);
  num_tasks.store(count, std::memory_order_release);
  num_unfinished.store(count, std::memory_order_relaxed);
  // The first share last, which is what workers wait for: then all others are open.
  for (int share = num_threads - 1; share >= 0; --share) {
    const auto begin = static_cast<std::uint64_t>(end_of(share - 1, count));
    // seq_cst, as num_sleeping: one side sees the other
    claim_of(share).store(((job + 1) << kTaskBits) | begin);
  }
  if (num_sleeping.load() > 0) {
    const std::lock_guard lock(mutex);  // a worker is either before its check or inside wait()
    job_opened.notify_all();
  }
}

void ThreadPool::State::run_tasks(int thread) {
  for (int i = 0; i < num_threads; ++i) run_share((thread + i) % num_threads);
}

void ThreadPool::State::run_share(int share) {
  std::atomic<std::uint64_t>& claim = claim_of(share);
  std::uint64_t seen = claim.load(std::memory_order_acquire);
  while (true) {
    const std::int64_t count = num_tasks.load(std::memory_order_acquire);
    const TaskRef* const task_body = body.load(std::memory_order_acquire);
    const auto task = static_cast<std::int64_t>(seen & kTaskMask);
    if (task >= end_of(share, count)) return;
    if (!claim.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) continue;
    (*task_body)(task);
    if (num_unfinished.fetch_sub(1) == 1 && caller_waits.load()) {
      const std::lock_guard lock(mutex);
      job_done.notify_one();
    }
    seen = claim.load(std::memory_order_acquire);
  }
}

void ThreadPool::State::run_worker(int index) {
  current_thread_index = index;
  std::uint64_t last_job = 0;
  const auto job_is_new = [&] {
    return (claim_of(0).load() >> kTaskBits) != last_job || stop.load();
  };
  while (true) {
    if (!spin_until(job_is_new)) {
      std::unique_lock lock(mutex);
      ++num_sleeping;
      job_opened.wait(lock, job_is_new);
      --num_sleeping;
    }
    if (stop) return;
    last_job = claim_of(0).load() >> kTaskBits;
    run_tasks(index);
  }
}

void ThreadPool::State::wait_for_tasks() {
  const auto all_done = [&] { return num_unfinished.load() == 0; };
  if (spin_until(all_done)) return;
  std::unique_lock lock(mutex);
  caller_waits = true;
  job_done.wait(lock, all_done);
  caller_waits = false;
}

ThreadPool::ThreadPool(int num_threads, std::span<const int> cpus) {
  HALFPIPE_CHECK(num_threads >= 1, "a thread pool needs at least one thread");
  HALFPIPE_CHECK(cpus.empty() || cpus.size() == static_cast<std::size_t>(num_threads),
                 "a CPU for each thread, or none");
  state_ = std::make_unique<State>(num_threads);
  if (!cpus.empty()) state_->pinned_caller.emplace(cpus[0]);
  const SignalBlock workers_take_no_signals;
  for (int i = 1; i < num_threads; ++i) {
    try {
      state_->workers.emplace_back([state = state_.get(), i] { state->run_worker(i); });
    } catch (const std::system_error& error) {
      throw RuntimeFailure("cannot start thread " + std::to_string(i) + " of " +
                           std::to_string(num_threads) + ": " + error.what());
    }
    if (!cpus.empty()) keep_on_cpu(state_->workers.back(), cpus[static_cast<std::size_t>(i)]);
  }
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::num_threads() const {
  return state_->num_threads;
}

void ThreadPool::parallel_for(std::int64_t num_tasks, TaskRef body) {
  if (state_->num_threads == 1 || num_tasks <= 1) {
    for (std::int64_t task = 0; task < num_tasks; ++task) body(task);
    return;
  }
  HALFPIPE_CHECK(num_tasks <= static_cast<std::int64_t>(kTaskMask), "too many tasks for one job");
  state_->open_job(num_tasks, &body);
  state_->run_tasks(0);
  state_->wait_for_tasks();
}

int ThreadPool::thread_index() {
  return current_thread_index;
}

}  // namespace halfpipe::cpu
