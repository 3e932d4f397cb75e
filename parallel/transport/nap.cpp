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
// Growing by the factor g, a sleep is (g - 1) / g of the time slept so far.
constexpr double kQuickGrowth = 1.2;
constexpr double kQuickGrowthEndsUs = 200.0;
constexpr double kSlowGrowth = 1.02;
// On a busy virtual machine a sleep of 150 us cost 14 us of CPU time: 9% of a core for a rank that
// waits, and ranks that outnumber the cores wait a lot.
constexpr double kLongestSleepUs = 1000.0;

}  // namespace

Nap::Nap(bool spin_first, Until until)
    : spin_first_(spin_first),
      sleep_us_(until == Until::kRung ? kLongestSleepUs : kShortestSleepUs) {}

double Nap::next_sleep_us() {
  ++num_pauses_;
  if (spin_first_ && num_pauses_ <= kSpins) return 0.0;
  if (num_pauses_ <= (spin_first_ ? kSpins : 0) + kYields) {
    ::sched_yield();
    return 0.0;
  }
  const double now = sleep_us_;
  const double growth = sleep_us_ < kQuickGrowthEndsUs ? kQuickGrowth : kSlowGrowth;
  sleep_us_ = std::min(sleep_us_ * growth, kLongestSleepUs);
  return now;
}

void Nap::pause() {
  const double microseconds = next_sleep_us();
  if (microseconds > 0.0) sleep_us(microseconds);
}

void sleep_us(double microseconds) {
  sleep_exactly();
  const timespec duration{0, static_cast<long>(microseconds * 1e3)};
  ::nanosleep(&duration, nullptr);
}

void sleep_exactly() {
  thread_local const bool exact = ::prctl(PR_SET_TIMERSLACK, 1UL) == 0;
  static_cast<void>(exact);
}

bool cores_suffice(int ranks_on_this_host) {
  return ranks_on_this_host <= static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace halfpipe::transport
