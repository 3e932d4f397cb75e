// SPDX-License-Identifier: Apache-2.0
// A stream as late as a device's may be: its work runs only when somebody waits for it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <utility>

#include "kernels/device/stream.h"

namespace halfpipe::transport {

/// Used by one thread. Finds out who touches memory without waiting for the stream.
class LazyStream final : public device::Stream {
 public:
  void enqueue(std::function<void()> work) { waiting_.push_back(std::move(work)); }
  void record(device::Event& event) override;
  void wait_for(device::Event& event) override {
    enqueue([&event] { event.synchronize(); });
  }
  void synchronize() override { run_until(num_started_ + waiting_.size()); }

 private:
  friend class LazyEvent;
  void run_until(std::uint64_t mark) {
    while (num_started_ < mark) {
      const std::function<void()> work = std::move(waiting_.front());
      waiting_.pop_front();
      ++num_started_;
      work();
    }
  }

  std::deque<std::function<void()>> waiting_;
  std::uint64_t num_started_ = 0;
};

class LazyEvent final : public device::Event {
 public:
  void synchronize() override {
    if (stream_ != nullptr) stream_->run_until(mark_);
  }
  [[nodiscard]] bool reached() const override {
    return stream_ == nullptr || stream_->num_started_ >= mark_;
  }
  [[nodiscard]] double seconds_since(const device::Event& /*earlier*/) const override {
    return 0.0;  // nothing here is timed
  }

 private:
  friend class LazyStream;
  LazyStream* stream_ = nullptr;
  std::uint64_t mark_ = 0;
};

inline void LazyStream::record(device::Event& event) {
  auto& lazy = dynamic_cast<LazyEvent&>(event);
  lazy.stream_ = this;
  lazy.mark_ = num_started_ + waiting_.size();
}

}  // namespace halfpipe::transport
