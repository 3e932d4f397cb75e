// SPDX-License-Identifier: Apache-2.0
// Threads that stay on one logical CPU.
#pragma once

#include <thread>
#include <vector>

namespace halfpipe {

/// The logical CPUs that the calling thread may run on, ascending; empty where the system does not
/// say.
[[nodiscard]] std::vector<int> usable_cpus();

/// The same CPUs, the first of each core before all others: two that share a core are no faster
/// than one for arithmetic that keeps it busy.
[[nodiscard]] std::vector<int> cpus_by_core(std::vector<int> cpus);

/// Keeps the thread that made it on one CPU while it lives. Made and destroyed by that thread.
/// Throws RuntimeFailure when the system refuses.
class PinnedThread {
 public:
  explicit PinnedThread(int cpu);
  ~PinnedThread();
  PinnedThread(const PinnedThread&) = delete;
  PinnedThread& operator=(const PinnedThread&) = delete;

 private:
  std::vector<int> previous_;
};

/// Keeps a thread on one CPU until it ends. Throws as PinnedThread does.
void keep_on_cpu(std::thread& thread, int cpu);

/// While it lives, the calling thread, pinned or not, and threads that it starts may use what the
/// process could before its first PinnedThread: for work that is to spread over the machine.
class UnpinnedScope {
 public:
  UnpinnedScope();
  ~UnpinnedScope();
  UnpinnedScope(const UnpinnedScope&) = delete;
  UnpinnedScope& operator=(const UnpinnedScope&) = delete;

 private:
  std::vector<int> previous_;  // empty: nothing is pinned
};

}  // namespace halfpipe
