// SPDX-License-Identifier: Apache-2.0
// Streams of the CPU: work runs at once, on the caller's thread and its pool, so that every mark is
// reached as soon as it is set.
#pragma once

#include "kernels/device/stream.h"

namespace halfpipe::cpu {

class CpuEvent final : public device::Event {
 public:
  void synchronize() override {}
};

class CpuStream final : public device::Stream {
 public:
  void record(device::Event& /*event*/) override {}
  void wait_for(device::Event& /*event*/) override {}
  void synchronize() override {}
};

}  // namespace halfpipe::cpu
