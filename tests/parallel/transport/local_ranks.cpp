// SPDX-License-Identifier: Apache-2.0
// Ranks that are threads.
#include <gtest/gtest.h>

#include <exception>
#include <memory>
#include <string>
#include <thread>

#include "parallel/transport/local_group.h"
#include "tests/parallel/transport/transport_ranks.h"

namespace halfpipe::transport {

std::vector<int> world_sizes() {
  return {1, 2, 5};
}

void on_every_rank(int world_size, const Body& body) {
  LocalGroup group(world_size);
  std::vector<std::thread> ranks;
  ranks.reserve(static_cast<std::size_t>(world_size));
  for (int rank = 0; rank < world_size; ++rank) {
    ranks.emplace_back([&group, &body, rank] {
      const std::unique_ptr<Transport> transport = group.make_transport(rank);
      try {
        ImmediateStream stream;
        transport->set_timeout(20.0);
        body(*transport, stream);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << rank << ": " << error.what();
        group.abort(1, error.what());
      }
    });
  }
  for (std::thread& each : ranks) each.join();
}

}  // namespace halfpipe::transport
