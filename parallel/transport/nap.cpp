// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/nap.h"

#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <ctime>
#include <thread>

namespace halfpipe::transport {
namespace {

constexpr int kSpins = 200;  // about 50 us with an MPI_Test between two of them
constexpr int kYields = 4;
constexpr double kShortestSleepUs = 5.0;
constexpr double kGrowth = 1.3;

/// Linux rounds sleeps up by 50 us unless the thread asks otherwise.
void ask_for_exact_sleeps() {
  thread_local const bool asked = ::prctl(PR_SET_TIMERSLACK, 1UL) == 0;
  static_cast<void>(asked);
}

}  // namespace

Nap::Nap(bool spin_first, double longest_us)
    : spin_first_(spin_first), longest_us_(longest_us), sleep_us_(kShortestSleepUs) {}

void Nap::reset() {
  num_pauses_ = 0;
  sleep_us_ = kShortestSleepUs;
}

void Nap::pause() {
  ++num_pauses_;
  if (spin_first_ && num_pauses_ <= kSpins) return;
  if (num_pauses_ <= (spin_first_ ? kSpins : 0) + kYields) {
    ::sched_yield();
    return;
  }
  ask_for_exact_sleeps();
  const timespec duration{0, static_cast<long>(sleep_us_ * 1e3)};
  ::nanosleep(&duration, nullptr);
  sleep_us_ = std::min(sleep_us_ * kGrowth, longest_us_);
}

bool cores_suffice(int ranks_on_this_host) {
  return ranks_on_this_host <= static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace halfpipe::transport
