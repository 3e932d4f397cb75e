// SPDX-License-Identifier: Apache-2.0
// The exchanges of tensor ranks as one of them computes by itself: the others have what it has.
#pragma once

#include "engine/model/tensor_group.h"
#include "engine/model/tensor_shard.h"
#include "kernels/device/backend.h"

namespace halfpipe::runtime {

/// For passes whose results nobody wants. No rank waits for another, so that one of them may fail.
class LoneTensorGroup final : public model::TensorGroup {
 public:
  /// The backend must outlive this.
  LoneTensorGroup(const model::TensorShard& shard, device::Backend& backend)
      : shard_(shard), backend_(backend) {}

  void all_gather(std::byte* whole,
                  const std::byte* part,
                  std::size_t part_bytes,
                  device::Stream& stream) override;
  void exchange(std::byte* received,
                const std::byte* sent,
                std::size_t part_bytes,
                device::Stream& stream) override;

 private:
  /// To every place but the rank's own.
  void copy_to_others(std::byte* whole,
                      const std::byte* part,
                      std::size_t part_bytes,
                      device::Stream& stream);

  model::TensorShard shard_;
  device::Backend& backend_;
};

}  // namespace halfpipe::runtime
