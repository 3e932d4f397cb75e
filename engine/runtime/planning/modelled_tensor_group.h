// SPDX-License-Identifier: Apache-2.0
// The exchanges of tensor ranks that are not there: they take the time of their links on the
// modelled stream of one rank, and move nothing.
#pragma once

#include "engine/config/run_config.h"
#include "engine/model/tensor_group.h"
#include "engine/runtime/ranks/fan.h"

namespace halfpipe::runtime {

class ModelledTensorGroup final : public model::TensorGroup {
 public:
  /// Of a job on modelled devices with several tensor ranks. Streams are of such devices.
  explicit ModelledTensorGroup(const config::RunConfig& config);

  /// The rank's own part is copied while the others are under way.
  void all_gather(std::byte* whole,
                  const std::byte* part,
                  std::size_t part_bytes,
                  device::Stream& stream) override;
  void exchange(std::byte* received,
                const std::byte* sent,
                std::size_t part_bytes,
                device::Stream& stream) override;

 private:
  Fan fan_;
};

}  // namespace halfpipe::runtime
