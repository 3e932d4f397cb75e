// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/state/background_work.h"

#include <chrono>
#include <utility>

#include "kernels/core/pinning.h"

namespace halfpipe::runtime {

BackgroundWork::BackgroundWork(std::function<void()> work) {
  const UnpinnedScope anywhere;
  thread_ = std::jthread([this, work = std::move(work)] {
    std::exception_ptr failure;
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    failure_ = failure;
    is_done_ = true;
    ended_.notify_all();
  });
}

BackgroundWork::State BackgroundWork::look() {
  const std::lock_guard lock(mutex_);
  return {is_done_, failure_ != nullptr};
}

bool BackgroundWork::wait_for(double seconds) {
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return is_done_; });
}

void BackgroundWork::finish() {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return is_done_; });
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

}  // namespace halfpipe::runtime
