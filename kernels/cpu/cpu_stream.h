// SPDX-License-Identifier: Apache-2.0
// Streams of the CPU: work runs at once, on the caller's thread and its pool, so that every mark is
// reached as soon as it is set.
#pragma once

#include <chrono>

#include "kernels/device/stream.h"

namespace halfpipe::cpu {

class CpuEvent final : public device::Event {
 public:
  void synchronize() override {}
  [[nodiscard]] bool reached() const override { return true; }
  [[nodiscard]] double seconds_since(const device::Event& earlier) const override {
    const auto& other = static_cast<const CpuEvent&>(earlier);
    return std::chrono::duration<double>(time_ - other.time_).count();
  }
  void mark() { time_ = std::chrono::steady_clock::now(); }

 private:
  std::chrono::steady_clock::time_point time_;
};

class CpuStream final : public device::Stream {
 public:
  void record(device::Event& event) override { static_cast<CpuEvent&>(event).mark(); }
  void wait_for(device::Event& /*event*/) override {}
  void synchronize() override {}
};

}  // namespace halfpipe::cpu
