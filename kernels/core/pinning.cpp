// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/pinning.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <cstring>
#include <string>

#include "kernels/core/error.h"

namespace halfpipe {
namespace {

/// Returns 0, or what went wrong.
int run_on(pthread_t thread, const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(static_cast<unsigned>(cpu), &set);
  return pthread_setaffinity_np(thread, sizeof(set), &set);
}

void keep_on_cpu(pthread_t thread, int cpu) {
  const int error = run_on(thread, {cpu});
  if (error == 0) return;
  throw RuntimeFailure("cannot keep a thread on CPU " + std::to_string(cpu) + ": " +
                       std::strerror(error));
}

/// What the process may use, as long as it is asked before any thread is pinned.
const std::vector<int>& cpus_before_pinning() {
  static const std::vector<int> cpus = usable_cpus();
  return cpus;
}

std::atomic<int> num_pinned{0};

}  // namespace

std::vector<int> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cpus;  // more CPUs than a set has
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<unsigned>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus;
}

PinnedThread::PinnedThread(int cpu) : previous_(usable_cpus()) {
  (void)cpus_before_pinning();
  keep_on_cpu(pthread_self(), cpu);
  ++num_pinned;
}

PinnedThread::~PinnedThread() {
  --num_pinned;
  (void)run_on(pthread_self(), previous_);
}

void keep_on_cpu(std::thread& thread, int cpu) {
  keep_on_cpu(thread.native_handle(), cpu);
}

UnpinnedScope::UnpinnedScope() {
  if (num_pinned == 0) return;
  previous_ = usable_cpus();
  (void)run_on(pthread_self(), cpus_before_pinning());
}

UnpinnedScope::~UnpinnedScope() {
  if (!previous_.empty()) (void)run_on(pthread_self(), previous_);
}

}  // namespace halfpipe
