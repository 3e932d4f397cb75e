// SPDX-License-Identifier: Apache-2.0
// What a device that is not there can do.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/ops/op_cost.h"

namespace halfpipe::modelled {

/// A roofline: an operation takes the time of its products or that of its memory traffic, whichever
/// is longer, and a little more to start.
struct DeviceModel {
  double flops_per_second = 0.0;  // that matrix products reach
  double bytes_per_second = 0.0;  // that device memory reaches
  double op_seconds = 0.0;        // of every operation, beside the above
  std::int64_t memory_bytes = 0;  // that allocate() hands out at most

  [[nodiscard]] double seconds(const ops::OpCost& cost) const {
    return op_seconds + std::max(cost.flops / flops_per_second, cost.bytes / bytes_per_second);
  }

  friend bool operator==(const DeviceModel&, const DeviceModel&) = default;
};

}  // namespace halfpipe::modelled
