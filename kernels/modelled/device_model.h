// SPDX-License-Identifier: Apache-2.0
// What a device that is not there can do.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/ops/op_cost.h"

namespace halfpipe::modelled {

/// A roofline: an operation takes the time of its products or that of its memory traffic, whichever
/// is longer, and a little more to start. A matrix product takes more still, since its first and
/// last tiles do not fill the device: that is what larger micro-batches save.
struct DeviceModel {
  double flops_per_second = 0.0;  // that large matrix products reach
  double bytes_per_second = 0.0;  // that device memory reaches
  double attention_share = 1.0;   // of flops_per_second, that attention reaches
  double op_seconds = 0.0;        // of every operation, beside the above
  double product_seconds = 0.0;   // of every matrix product, beside op_seconds
  std::int64_t memory_bytes = 0;  // that allocate() hands out at most

  [[nodiscard]] double seconds(const ops::OpCost& cost) const {
    return op_seconds + std::max(cost.flops / flops_per_second, cost.bytes / bytes_per_second);
  }
  [[nodiscard]] double seconds_of_product(const ops::OpCost& cost) const {
    return product_seconds + seconds(cost);
  }
  [[nodiscard]] double seconds_of_attention(const ops::OpCost& cost) const {
    return seconds({cost.flops / attention_share, cost.bytes});
  }

  friend bool operator==(const DeviceModel&, const DeviceModel&) = default;
};

}  // namespace halfpipe::modelled
