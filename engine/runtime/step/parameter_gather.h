// SPDX-License-Identifier: Apache-2.0
// Brings the parameters that each replica has stepped to all of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/runtime/step/gradient_buckets.h"
#include "kernels/device/backend.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

class ParameterGather {
 public:
  /// Parameters are allocated; all must outlive this.
  ParameterGather(model::ParameterSet& parameters,
                  const std::vector<GradientBucket>& buckets,
                  device::Backend& backend,
                  transport::Transport& replicas);

  /// Replaces the values in the others' parts of the buckets by theirs, and makes every copy anew.
  /// Collective among the replicas. Ordered by the stream; the host waits for messages. `step` is
  /// for messages about ranks that stand still.
  void run(device::Stream& stream, std::int64_t step);

 private:
  /// Buckets whose messages are under way at once: where messages are staged, each occupies pinned
  /// memory.
  static constexpr std::size_t kUnderWay = 4;

  void wait_for(std::vector<transport::Request>& requests, device::Stream& stream);

  model::ParameterSet& parameters_;
  const std::vector<GradientBucket>& buckets_;
  device::Backend& backend_;
  transport::Transport& replicas_;
  std::array<std::vector<transport::Request>, kUnderWay> requests_;
};

}  // namespace halfpipe::runtime
