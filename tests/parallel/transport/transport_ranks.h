// SPDX-License-Identifier: Apache-2.0
// Where the contract test gets its ranks from: threads (local_ranks.cpp) or the processes of an MPI
// job (mpi_ranks.cpp). One of the two is linked.
#pragma once

#include <functional>
#include <vector>

#include "kernels/device/stream.h"
#include "parallel/transport/transport.h"

namespace halfpipe::transport {

/// What one rank does in a test.
using Body = std::function<void(Transport&, device::Stream&)>;

/// World sizes that the contract test is run with.
[[nodiscard]] std::vector<int> world_sizes();
/// Runs `body` on each rank, over a fresh transport. An exception fails the test.
void on_every_rank(int world_size, const Body& body);

/// The stream of a device that does its work at once.
class ImmediateStream final : public device::Stream {
 public:
  void record(device::Event& /*event*/) override {}
  void wait_for(device::Event& /*event*/) override {}
  void synchronize() override {}
};

}  // namespace halfpipe::transport
