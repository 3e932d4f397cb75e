// SPDX-License-Identifier: Apache-2.0
// Work on a thread of its own, beside the steps of a training.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace halfpipe::runtime {

/// Starts where the process may run, not only on the CPU of the thread that makes it. Destroyed, it
/// waits for the end of the work, whose failure is then nobody's.
class BackgroundWork {
 public:
  explicit BackgroundWork(std::function<void()> work);
  BackgroundWork(const BackgroundWork&) = delete;
  BackgroundWork& operator=(const BackgroundWork&) = delete;

  struct State {
    bool is_done;
    bool has_failed;
  };
  [[nodiscard]] State look();
  /// Waits for the end at most so long; whether it has come.
  [[nodiscard]] bool wait_for(double seconds);
  /// Waits for the end, and throws what the work threw.
  void finish();

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool is_done_ = false;
  std::exception_ptr failure_;
  std::jthread thread_;  // last: it ends before what it uses
};

}  // namespace halfpipe::runtime
