// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/progress_thread.h"

#include <chrono>
#include <utility>

#include "kernels/core/signal_block.h"
#include "parallel/transport/nap.h"

namespace halfpipe::transport {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kLookInterval = std::chrono::milliseconds(100);
/// Going to sleep and being woken costs two switches: not worth it between two messages.
constexpr auto kIdleBeforeSleep = std::chrono::milliseconds(5);
// Each nap costs the rank that computes beside it about 10 us.
constexpr double kWaitingNapUs = 1000.0;
constexpr double kPressingNapUs = 100.0;

}  // namespace

ProgressThread::ProgressThread(std::function<Progress()> progress, std::function<void()> look)
    : progress_(std::move(progress)), look_(std::move(look)), thread_([this] { run(); }) {}

ProgressThread::~ProgressThread() {
  stopping_ = true;
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  woken_up_.notify_one();
  thread_.join();
}

void ProgressThread::wake() {
  if (!asleep_.load()) return;
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  woken_up_.notify_one();
}

void ProgressThread::run() {
  // They go to the threads that installed the handlers.
  const SignalBlock no_signals;
  auto last_work = Clock::now();
  auto next_look = last_work + kLookInterval;
  while (!stopping_) {
    const auto now = Clock::now();
    if (now >= next_look) {
      look_();
      next_look = now + kLookInterval;
    }
    const Progress progress = progress_();
    if (progress != Progress::kIdle) last_work = now;
    if (now - last_work < kIdleBeforeSleep) {
      sleep_us(progress == Progress::kPressing ? kPressingNapUs : kWaitingNapUs);
    } else {
      sleep_until_woken_or_time_to_look();
    }
  }
}

void ProgressThread::sleep_until_woken_or_time_to_look() {
  // First says that it sleeps, then looks for work once more: whoever brings work does it the other
  // way round, so one of the two sees the other.
  asleep_ = true;
  if (progress_() == Progress::kIdle) {
    std::unique_lock lock(mutex_);
    woken_up_.wait_for(lock, kLookInterval, [this] { return woken_; });
    woken_ = false;
  }
  asleep_ = false;
}

}  // namespace halfpipe::transport
