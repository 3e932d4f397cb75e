// SPDX-License-Identifier: Apache-2.0
// Every task once, whatever the number of threads, the gaps between jobs and the load.
#include "kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/core/pinning.h"

namespace halfpipe::cpu {
namespace {

/// Waits for what other threads do; a test that would wait for ever fails instead.
template <typename Done>
void wait_for(const Done& done) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!done()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "waited for 30 s";
    std::this_thread::yield();
  }
}

class ThreadPoolOf : public ::testing::TestWithParam<int> {};

TEST_P(ThreadPoolOf, RunsEveryTaskOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.num_threads(), GetParam());
  for (const std::int64_t num_tasks : {0, 1, 2, 3, 7, 64, 1000}) {
    std::vector<int> runs(static_cast<std::size_t>(num_tasks), 0);  // plain: tasks never share one
    pool.parallel_for(num_tasks,
                      [&](std::int64_t task) { ++runs[static_cast<std::size_t>(task)]; });
    for (const int count : runs) ASSERT_EQ(count, 1) << num_tasks << " tasks";
  }
}

// Back to back jobs of changing sizes: a worker that is late for one job meets the next one.
TEST_P(ThreadPoolOf, KeepsJobsApart) {
  ThreadPool pool(GetParam());
  std::vector<std::int64_t> last_job(9, -1);
  for (std::int64_t job = 0; job < 3000; ++job) {
    const std::int64_t num_tasks = 1 + job * 7 % 9;
    pool.parallel_for(num_tasks, [&last_job, job](std::int64_t task) {
      ASSERT_LT(last_job[static_cast<std::size_t>(task)], job);
      last_job[static_cast<std::size_t>(task)] = job;
    });
    for (std::int64_t task = 0; task < num_tasks; ++task) {
      ASSERT_EQ(last_job[static_cast<std::size_t>(task)], job);
    }
  }
}

TEST_P(ThreadPoolOf, WakesSleepingWorkers) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // far longer than workers spin
    std::atomic<int> runs{0};
    pool.parallel_for(16, [&](std::int64_t) { ++runs; });
    EXPECT_EQ(runs, 16);
  }
}

TEST(PinnedThreadPool, KeepsEachThreadOnItsCpu) {
  const std::vector<int> before = usable_cpus();
  // One CPU for two threads where the machine has no more; their order is not that of the system.
  const std::vector<int> cpus{before.back(), before.front()};
  {
    ThreadPool pool(2, cpus);
    std::vector<std::vector<int>> seen(2);
    std::atomic<int> num_started{0};
    pool.parallel_for(2, [&](std::int64_t) {
      seen[static_cast<std::size_t>(ThreadPool::thread_index())] = usable_cpus();
      ++num_started;
      while (num_started < 2) std::this_thread::yield();  // so that each thread takes one
    });
    EXPECT_EQ(seen[0], std::vector<int>{cpus[0]});
    EXPECT_EQ(seen[1], std::vector<int>{cpus[1]});
    const UnpinnedScope scope;
    std::thread([&] { EXPECT_EQ(usable_cpus(), before); }).join();
  }
  EXPECT_EQ(usable_cpus(), before);
}

TEST(PinnedThreadPool, EndsTheScopeOfOtherWorkWhereItBegan) {
  const std::vector<int> before = usable_cpus();
  const ThreadPool pool(1, std::vector<int>{before.back()});
  {
    const UnpinnedScope scope;
    EXPECT_EQ(usable_cpus(), before);
  }
  EXPECT_EQ(usable_cpus(), std::vector<int>{before.back()});
}

TEST(PinnedThreadPool, RefusesACpuThatDoesNotExist) {
  const std::vector<int> before = usable_cpus();
  constexpr int kMissing = 1023;
  try {
    const ThreadPool pool(2, std::vector<int>{before.front(), kMissing});
    FAIL() << "CPU 1023 exists";
  } catch (const RuntimeFailure& error) {
    EXPECT_NE(std::string(error.what()).find("CPU 1023"), std::string::npos) << error.what();
  }
  EXPECT_EQ(usable_cpus(), before);
}

TEST_P(ThreadPoolOf, NumbersItsThreads) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(ThreadPool::thread_index(), 0);
  std::vector<std::atomic<int>> busy(static_cast<std::size_t>(GetParam()));
  pool.parallel_for(500, [&](std::int64_t) {
    const int index = ThreadPool::thread_index();
    ASSERT_GE(index, 0);
    ASSERT_LT(index, GetParam());
    ASSERT_EQ(busy[static_cast<std::size_t>(index)]++, 0) << "two threads share index " << index;
    busy[static_cast<std::size_t>(index)]--;
  });
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolOf, ::testing::Values(1, 2, 3, 8));

TEST(ThreadPool, LetsTwoThreadsWorkAtOnce) {
  ThreadPool pool(2);
  std::atomic<int> arrived{0};
  pool.parallel_for(2, [&](std::int64_t) {  // ends only when both tasks run at the same time
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 2);
}

// Each thread waits inside its first task for the others, so nobody is left to take another's.
TEST(ThreadPool, ThreadsBeginWithTheirOwnShare) {
  constexpr int kThreads = 4;
  ThreadPool pool(kThreads);
  for (int job = 0; job < 50; ++job) {
    std::atomic<int> arrived{0};
    std::vector<int> thread_of(kThreads, -1);
    pool.parallel_for(kThreads, [&](std::int64_t task) {
      thread_of[static_cast<std::size_t>(task)] = ThreadPool::thread_index();
      ++arrived;
      wait_for([&] { return arrived == kThreads; });
    });
    EXPECT_EQ(thread_of, (std::vector<int>{0, 1, 2, 3}));
  }
}

TEST(ThreadPool, ThreadsHelpWhenTheirShareIsDone) {
  constexpr std::int64_t kTasks = 100;
  ThreadPool pool(2);
  std::atomic<std::int64_t> done{0};
  pool.parallel_for(kTasks, [&](std::int64_t task) {
    // The caller's first task ends when all others have: the worker takes the rest of its share.
    if (task == 0) wait_for([&] { return done == kTasks - 1; });
    ++done;
  });
  EXPECT_EQ(done, kTasks);
}

TEST(ThreadPool, ServesManyRanksAtOnce) {
  std::atomic<std::int64_t> sum{0};
  std::vector<std::thread> ranks;
  ranks.reserve(4);
  for (int rank = 0; rank < 4; ++rank) {
    ranks.emplace_back([&sum] {
      ThreadPool pool(2);
      for (int job = 0; job < 200; ++job) {
        pool.parallel_for(10, [&](std::int64_t task) { sum += task; });
      }
    });
  }
  for (std::thread& rank : ranks) rank.join();
  EXPECT_EQ(sum, 4 * 200 * 45);
}

TEST(ThreadPool, ItsThreadsTakeNoSignals) {
  ThreadPool pool(2);
  std::atomic<int> arrived{0};
  std::atomic<bool> caller_blocks{true};
  std::atomic<bool> worker_blocks{false};
  pool.parallel_for(2, [&](std::int64_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    const bool blocks = sigismember(&blocked, SIGTERM) == 1;
    (ThreadPool::thread_index() == 0 ? caller_blocks : worker_blocks) = blocks;
  });
  EXPECT_FALSE(caller_blocks);
  EXPECT_TRUE(worker_blocks);
}

TEST(ThreadPool, RefusesToHaveNoThread) {
  EXPECT_THROW(ThreadPool{0}, InternalError);
}

}  // namespace
}  // namespace halfpipe::cpu
