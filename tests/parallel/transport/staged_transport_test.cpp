// SPDX-License-Identifier: Apache-2.0
// Messages in the memory of a device that runs late: whoever touches bytes without waiting for the
// right stream finds the wrong ones.
#include "parallel/transport/staged_transport.h"

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"
#include "tests/parallel/transport/lazy_device.h"

namespace halfpipe::transport {
namespace {

using Bytes = std::vector<std::byte>;

struct Rank {
  Transport& transport;
  LazyDevice& device;
  LazyStream& stream;
};

/// The body waits for its stream before what the stream touches goes away.
void on_two_ranks(const std::function<void(Rank)>& body) {
  LocalGroup group(2);
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 2; ++rank) {
    ranks.emplace_back([&, rank] {
      const std::unique_ptr<Transport> carrier = group.make_transport(rank);
      carrier->set_timeout(20.0);
      try {
        LazyDevice device;
        LazyStream stream;
        StagedTransport transport(*carrier, device);
        body({transport, device, stream});
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << rank << ": " << error.what();
        group.abort(1, error.what());
      }
    });
  }
  for (std::thread& each : ranks) each.join();
}

void fill(Bytes& bytes, int value, LazyStream& stream) {
  stream.enqueue([&bytes, value] { bytes.assign(bytes.size(), static_cast<std::byte>(value)); });
}

TEST(StagedTransport, BytesAreReadAfterTheStreamHasMadeThemAndOverwrittenAfterItHasReadThem) {
  on_two_ranks([](Rank me) {
    constexpr int kRounds = 20;
    constexpr std::size_t kBytes = 5000;
    const int peer = 1 - me.transport.rank();
    Bytes mine(kBytes);
    Bytes theirs(kBytes);
    std::vector<std::byte> seen;  // the first byte of each message, as the stream finds it
    for (int round = 0; round < kRounds; ++round) {
      fill(mine, 2 * round + me.transport.rank(), me.stream);
      const Request receive = me.transport.post_recv(theirs, peer, me.stream);
      const Request send = me.transport.send(mine, peer, me.stream);
      me.transport.wait(send, me.stream);
      me.transport.wait(receive, me.stream);
      me.stream.enqueue([&] {
        EXPECT_EQ(theirs, Bytes(kBytes, theirs[0]));
        seen.push_back(theirs[0]);
      });
    }
    me.stream.synchronize();
    ASSERT_EQ(seen.size(), kRounds);
    for (int round = 0; round < kRounds; ++round) {
      EXPECT_EQ(std::to_integer<int>(seen[static_cast<std::size_t>(round)]), 2 * round + peer);
    }
  });
}

TEST(StagedTransport, BuffersOfFinishedMessagesAreUsedAgain) {
  on_two_ranks([](Rank me) {
    const int peer = 1 - me.transport.rank();
    Bytes mine(300);
    Bytes theirs(300);
    for (int round = 0; round < 10; ++round) {
      const Request receive = me.transport.post_recv(theirs, peer, me.stream);
      const Request send = me.transport.send(mine, peer, me.stream);
      me.transport.wait(send, me.stream);
      me.transport.wait(receive, me.stream);
    }
    me.stream.synchronize();
    EXPECT_EQ(me.device.num_pinned_buffers(), 2);
  });
}

TEST(StagedTransport, SeveralMessagesAreUnderWayAtOnce) {
  on_two_ranks([](Rank me) {
    constexpr std::size_t kMessages = 5;
    const int peer = 1 - me.transport.rank();
    std::vector<Bytes> mine(kMessages, Bytes(64));
    std::vector<Bytes> theirs(kMessages, Bytes(64));
    std::vector<Request> requests;
    for (std::size_t i = 0; i < kMessages; ++i) {
      fill(mine[i], static_cast<int>(i), me.stream);
      requests.push_back(me.transport.post_recv(theirs[i], peer, me.stream));
      requests.push_back(me.transport.send(mine[i], peer, me.stream));
    }
    for (const Request request : requests) me.transport.wait(request, me.stream);
    me.stream.synchronize();
    EXPECT_EQ(theirs, mine);  // both ranks send the same
  });
}

TEST(StagedTransport, ADeadlineThatPassesLeavesTheRequestToBeWaitedFor) {
  on_two_ranks([](Rank me) {
    const int peer = 1 - me.transport.rank();
    Bytes mine(40);
    Bytes theirs(40);
    const Request receive = me.transport.post_recv(theirs, peer, me.stream);
    EXPECT_FALSE(me.transport.wait_until(receive, me.stream, std::chrono::steady_clock::now()));
    me.transport.barrier();
    fill(mine, 7, me.stream);
    const Request send = me.transport.send(mine, peer, me.stream);
    me.transport.wait(send, me.stream);
    me.transport.wait(receive, me.stream);
    me.stream.synchronize();
    EXPECT_EQ(theirs, Bytes(40, std::byte{7}));
  });
}

TEST(StagedTransport, ARequestIsWaitedForOnce) {
  on_two_ranks([](Rank me) {
    const int peer = 1 - me.transport.rank();
    Bytes mine(8);
    Bytes theirs(8);
    const Request receive = me.transport.post_recv(theirs, peer, me.stream);
    const Request send = me.transport.send(mine, peer, me.stream);
    me.transport.wait(send, me.stream);
    me.transport.wait(receive, me.stream);
    EXPECT_THROW(me.transport.wait(receive, me.stream), InternalError);
    me.stream.synchronize();
  });
}

TEST(StagedTransport, IsOnlyMadeForADeviceWhoseMemoryTheHostCannotReach) {
  LocalGroup group(1);
  const std::unique_ptr<Transport> carrier = group.make_transport(0);
  LazyDevice device;
  EXPECT_NE(make_staging_if_needed(*carrier, device), nullptr);
  const std::unique_ptr<device::Backend> host = cpu::make_cpu_backend(1);
  EXPECT_EQ(make_staging_if_needed(*carrier, *host), nullptr);
}

}  // namespace
}  // namespace halfpipe::transport
