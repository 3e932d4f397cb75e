// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/pinning.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <map>
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

std::vector<int> cpus_by_core(std::vector<int> cpus) {
  std::map<std::string, int> cpus_of_core;  // by the list of its CPUs
  std::map<int, int> place_in_core;
  for (const int cpu : cpus) {
    std::string siblings = std::to_string(cpu);  // where the system does not say
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::getline(file, siblings);
    place_in_core[cpu] = cpus_of_core[siblings.empty() ? std::to_string(cpu) : siblings]++;
  }
  std::ranges::stable_sort(cpus, {}, [&](int cpu) { return place_in_core[cpu]; });
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
