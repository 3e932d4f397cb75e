// SPDX-License-Identifier: Apache-2.0
// The threads of one rank. Every CPU kernel runs its loops through parallel_for.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace halfpipe::cpu {

/// A non-owning reference to a callable void(int64_t task); cheaper than std::function and never
/// allocates.
class TaskRef {
 public:
  template <typename Callable>
  TaskRef(const Callable& callable)  // NOLINT(google-explicit-constructor): call sites pass lambdas
      : object_(&callable), call_([](const void* object, std::int64_t task) {
          (*static_cast<const Callable*>(object))(task);
        }) {}
  void operator()(std::int64_t task) const { call_(object_, task); }

 private:
  const void* object_;
  void (*call_)(const void*, std::int64_t);
};

/// num_threads counts the calling thread: a pool of one starts no thread. Used by one thread at a
/// time. Signal handlers never run on the threads that it starts. cpus: empty, or for each thread,
/// the calling one first, the logical CPU on which it stays while the pool lives; the pool is then
/// made and destroyed by that thread. Throws RuntimeFailure when the system refuses a thread or a
/// CPU.
class ThreadPool {
 public:
  explicit ThreadPool(int num_threads, std::span<const int> cpus = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int num_threads() const;
  /// Runs body(0) .. body(num_tasks - 1), each once, on any thread, and returns when all are done.
  /// Which thread runs a task must not matter for its result: that is what makes kernels give the
  /// same bits for any number of threads.
  void parallel_for(std::int64_t num_tasks, TaskRef body);
  /// Index of the running thread, 0 .. num_threads() - 1, inside a task: for per-thread scratch.
  [[nodiscard]] static int thread_index();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace halfpipe::cpu
