// SPDX-License-Identifier: Apache-2.0
// The exchanges of tensor ranks as messages of a transport: every rank sends to every other one.
#pragma once

#include <vector>

#include "engine/model/tensor_group.h"
#include "kernels/device/backend.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

class TransportTensorGroup final : public model::TensorGroup {
 public:
  /// `ranks`: of the group, for messages of the backend's memory. synchronizes: each exchange is
  /// waited for, under the transport's watch (debug.sync_kernels). Both must outlive this.
  TransportTensorGroup(transport::Transport& ranks, device::Backend& backend, bool synchronizes);

  void all_gather(std::byte* whole,
                  const std::byte* part,
                  std::size_t part_bytes,
                  device::Stream& stream) override;
  void exchange(std::byte* received,
                const std::byte* sent,
                std::size_t part_bytes,
                device::Stream& stream) override;

 private:
  void wait_for_all(device::Stream& stream);

  transport::Transport& ranks_;
  device::Backend& backend_;
  bool synchronizes_;
  std::vector<transport::Request> requests_;  // with room for all of an exchange
};

}  // namespace halfpipe::runtime
