// SPDX-License-Identifier: Apache-2.0
// A thread beside a rank that keeps messages moving and watches the other ranks while the rank
// computes.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

namespace halfpipe::transport {

enum class Progress : std::uint8_t {
  kIdle,     // nothing to do until wake()
  kWaiting,  // something may happen; soon enough in a millisecond
  kPressing  // another rank may be waiting for our progress
};

/// Calls `progress` in short naps while something is under way and sleeps when nothing is; calls
/// `look` about ten times a second in any case. Neither may throw.
class ProgressThread {
 public:
  ProgressThread(std::function<Progress()> progress, std::function<void()> look);
  ~ProgressThread();
  ProgressThread(const ProgressThread&) = delete;
  ProgressThread& operator=(const ProgressThread&) = delete;

  /// There is something to do. To be called after `progress` would say so; cheap when the thread is
  /// awake.
  void wake();

 private:
  void run();
  void sleep_until_woken_or_time_to_look();

  std::function<Progress()> progress_;
  std::function<void()> look_;
  std::mutex mutex_;
  std::condition_variable woken_up_;
  bool woken_ = false;
  std::atomic<bool> asleep_{false};
  std::atomic<bool> stopping_{false};
  std::thread thread_;  // last: it uses the members above
};

}  // namespace halfpipe::transport
