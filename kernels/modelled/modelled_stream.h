// SPDX-License-Identifier: Apache-2.0
// Streams of a device that computes nothing: work is an amount of time. The host runs ahead as it
// does with a GPU, and sleeps when it waits.
#pragma once

#include <chrono>

#include "kernels/device/stream.h"

namespace halfpipe::modelled {

using Clock = std::chrono::steady_clock;

/// Sleeps until `time`, on time within what the kernel's timers allow (tens of microseconds); not
/// at all when it has passed.
void sleep_until(Clock::time_point time);

/// `seconds` (at least 0) after `time`; the end of all time when the clock does not reach so far.
[[nodiscard]] Clock::time_point later(Clock::time_point time, double seconds);

class ModelledEvent final : public device::Event {
 public:
  void synchronize() override { sleep_until(time_); }
  [[nodiscard]] bool reached() const override { return Clock::now() >= time_; }
  [[nodiscard]] double seconds_since(const device::Event& earlier) const override;
  /// When the stream reaches the mark; may lie in the future.
  [[nodiscard]] Clock::time_point time() const { return time_; }
  void set_time(Clock::time_point time) { time_ = time; }

 private:
  Clock::time_point time_;
};

/// All streams of a device run beside one another, as if it had room for all their work: the plan
/// puts passes on one stream. A time that has been given to work does not change any more, so a
/// host that wakes up late delays only what it enqueues after the stream has run dry.
class ModelledStream final : public device::Stream {
 public:
  void record(device::Event& event) override;
  void wait_for(device::Event& event) override;
  void synchronize() override { sleep_until(free_at_); }

  /// Work that starts when the work before it has ended, or now if that was earlier.
  void enqueue(double seconds);
  /// Work enqueued later starts at `time` at the earliest; the host does not wait.
  void wait_until(Clock::time_point time);
  /// When all work enqueued so far will have ended.
  [[nodiscard]] Clock::time_point free_at() const { return free_at_; }
  /// All work enqueued so far, seconds, without the gaps.
  [[nodiscard]] double work_seconds() const { return work_seconds_; }

 private:
  Clock::time_point free_at_;
  double work_seconds_ = 0.0;
};

}  // namespace halfpipe::modelled
