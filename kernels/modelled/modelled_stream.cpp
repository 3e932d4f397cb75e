// SPDX-License-Identifier: Apache-2.0
#include "kernels/modelled/modelled_stream.h"

#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

namespace halfpipe::modelled {

void sleep_until(Clock::time_point time) {
  // steady_clock counts what CLOCK_MONOTONIC counts; the library's own sleep_until measures a
  // duration first and wakes up later for it. Linux adds 50 us to a sleep unless told otherwise.
  thread_local const bool exact = ::prctl(PR_SET_TIMERSLACK, 1UL) == 0;
  static_cast<void>(exact);
  using std::chrono::duration_cast;
  using std::chrono::nanoseconds;
  using std::chrono::seconds;
  const auto since_boot = time.time_since_epoch();
  const auto whole = duration_cast<seconds>(since_boot);
  const timespec deadline{whole.count(), duration_cast<nanoseconds>(since_boot - whole).count()};
  while (Clock::now() < time &&
         ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr) == EINTR) {
  }
}

Clock::time_point later(Clock::time_point time, double seconds) {
  constexpr Clock::time_point kEnd = Clock::time_point::max();
  const std::chrono::duration<double> duration(seconds);
  const std::chrono::duration<double> left = kEnd - time;
  // Half of it: what is left is rounded.
  if (!(duration < 0.5 * left)) return kEnd;
  return time + std::chrono::round<Clock::duration>(duration);
}

double ModelledEvent::seconds_since(const device::Event& earlier) const {
  const auto& other = static_cast<const ModelledEvent&>(earlier);
  return std::chrono::duration<double>(time_ - other.time_).count();
}

void ModelledStream::record(device::Event& event) {
  // A stream that has run dry reaches a new mark at once.
  free_at_ = std::max(free_at_, Clock::now());
  static_cast<ModelledEvent&>(event).set_time(free_at_);
}

void ModelledStream::wait_for(device::Event& event) {
  wait_until(static_cast<ModelledEvent&>(event).time());
}

void ModelledStream::enqueue(double seconds) {
  free_at_ = later(std::max(free_at_, Clock::now()), seconds);
  work_seconds_ += seconds;
}

void ModelledStream::wait_until(Clock::time_point time) {
  free_at_ = std::max(free_at_, time);
}

}  // namespace halfpipe::modelled
