// SPDX-License-Identifier: Apache-2.0
// What every transport promises of what all its ranks do together.
#include <thread>
#include <vector>

#include "tests/parallel/transport/transport_contract.h"

namespace halfpipe::transport {
namespace {

TEST_P(TransportContract, AllReduceSumAddsInRankOrder) {
  on_every_rank([](Transport& transport, device::Stream&) {
    // The order of these additions changes the last bits.
    auto value = [](int rank, int i) { return 0.1 * (rank + 1) + 1e10 * (i % 3) - 1e10 * rank; };
    constexpr int kValues = 1000;
    std::vector<double> values(kValues);
    for (int i = 0; i < kValues; ++i) {
      values[static_cast<std::size_t>(i)] = value(transport.rank(), i);
    }
    transport.all_reduce_sum(values);
    for (int i = 0; i < kValues; ++i) {
      double expected = value(0, i);
      for (int rank = 1; rank < transport.world_size(); ++rank) expected += value(rank, i);
      EXPECT_EQ(values[static_cast<std::size_t>(i)], expected);
    }
    std::vector<double> none;
    transport.all_reduce_sum(none);
  });
}

TEST_P(TransportContract, BroadcastReplacesTheBytesOfEveryOtherRank) {
  on_every_rank([](Transport& transport, device::Stream&) {
    for (int root = 0; root < transport.world_size(); ++root) {
      for (const std::size_t size : {std::size_t{0}, std::size_t{5}, std::size_t{300'000}}) {
        const Bytes expected = message(root, 0, 3, size);
        Bytes bytes = transport.rank() == root ? expected : message(9, 9, 9, 77);
        transport.broadcast(bytes, root);
        EXPECT_EQ(bytes, expected);
      }
    }
  });
}

TEST_P(TransportContract, AllGatherKeepsUnevenSizesInRankOrder) {
  on_every_rank([](Transport& transport, device::Stream&) {
    auto size_of_rank = [](int rank) { return static_cast<std::size_t>(rank) * 3000; };
    for (int round = 0; round < 3; ++round) {
      const int own = transport.rank();
      const auto all = transport.all_gather(message(own, 0, round, size_of_rank(own)));
      ASSERT_EQ(all.size(), static_cast<std::size_t>(transport.world_size()));
      for (int rank = 0; rank < transport.world_size(); ++rank) {
        EXPECT_EQ(all[static_cast<std::size_t>(rank)], message(rank, 0, round, size_of_rank(rank)));
      }
    }
  });
}

TEST_P(TransportContract, NobodyPassesTheBarrierBeforeTheLastRankReachesIt) {
  on_every_rank([](Transport& transport, device::Stream&) {
    transport.barrier();
    const auto start = Clock::now();
    const bool last = transport.rank() == transport.world_size() - 1;
    if (last) std::this_thread::sleep_for(milliseconds(60));
    transport.barrier();
    // Ranks leave the first barrier at slightly different times.
    EXPECT_GE(milliseconds_since(start), 30.0);
  });
}

TEST_P(TransportContract, CollectivesAndMessagesDoNotMix) {
  on_every_rank([](Transport& transport, device::Stream& stream) {
    const int n = transport.world_size();
    const int next = (transport.rank() + 1) % n;
    const int previous = (transport.rank() + n - 1) % n;
    for (int round = 0; round < 20; ++round) {
      const Bytes sent = message(transport.rank(), next, round, 40'000);
      Bytes received(sent.size());
      const Request receive = transport.post_recv(received, previous, stream);
      const Request send = transport.send(sent, next, stream);
      std::vector<double> ones(3, 1.0);
      transport.all_reduce_sum(ones);
      EXPECT_EQ(ones[2], n);
      transport.wait(send, stream);
      transport.wait(receive, stream);
      EXPECT_EQ(received, message(previous, transport.rank(), round, 40'000));
    }
  });
}

}  // namespace
}  // namespace halfpipe::transport
