// SPDX-License-Identifier: Apache-2.0
// What only ranks of one process have: aborting the group without ending the process.
#include "parallel/transport/local_group.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

#include "parallel/transport/rank_lost.h"
#include "tests/parallel/transport/transport_ranks.h"

namespace halfpipe::transport {
namespace {

using Bytes = std::vector<std::byte>;

template <typename Call>
std::string loss_of(const Call& call) {
  try {
    call();
  } catch (const RankLost& lost) {
    return lost.what();
  }
  return "no RankLost";
}

TEST(LocalGroup, AbortWakesEveryBlockedRankAndEndsLaterCalls) {
  constexpr int kRanks = 4;
  LocalGroup group(kRanks);
  std::vector<std::thread> ranks;
  ranks.reserve(kRanks);
  for (int rank = 0; rank < kRanks; ++rank) {
    ranks.emplace_back([&group, rank] {
      const auto transport = group.make_transport(rank);
      ImmediateStream stream;
      Bytes bytes(1000);
      if (rank == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        transport->abort(2);
      } else if (rank == 1) {
        EXPECT_NE(loss_of([&] { transport->barrier(); }).find("rank 0/4"), std::string::npos);
      } else {
        const Request request =
            rank == 2 ? transport->post_recv(bytes, 0, stream) : transport->send(bytes, 0, stream);
        EXPECT_NE(loss_of([&] { transport->wait(request, stream); }).find("exit code 2"),
                  std::string::npos);
      }
      EXPECT_THROW(transport->barrier(), RankLost);
      EXPECT_THROW(static_cast<void>(transport->send(bytes, 0, stream)), RankLost);
      EXPECT_THROW(static_cast<void>(transport->all_gather(bytes)), RankLost);
    });
  }
  for (std::thread& each : ranks) each.join();
  EXPECT_TRUE(group.aborted());
  EXPECT_EQ(group.exit_code(), 2);
}

TEST(LocalGroup, TheFirstAbortCounts) {
  LocalGroup group(2);
  EXPECT_FALSE(group.aborted());
  EXPECT_EQ(group.exit_code(), 0);
  group.abort(2, "first");
  group.abort(1, "second");
  EXPECT_EQ(group.exit_code(), 2);
  EXPECT_EQ(group.abort_reason(), "first");
}

TEST(LocalGroup, ARankThatIsLeftByAnExceptionDoesNotLeaveTheOthersWaiting) {
  LocalGroup group(2);
  std::thread failing([&group] {
    try {
      const auto transport = group.make_transport(0);
      transport->barrier();
      throw std::runtime_error("disk full");
    } catch (const std::runtime_error&) {
    }
  });
  const auto transport = group.make_transport(1);
  transport->barrier();
  EXPECT_THROW(transport->barrier(), RankLost);
  failing.join();
}

TEST(LocalGroup, AMessageIsWithdrawnWithItsTransport) {
  LocalGroup group(2);
  ImmediateStream stream;
  const auto receiver = group.make_transport(1);
  {
    const auto sender = group.make_transport(0);
    const Bytes gone(100);
    static_cast<void>(sender->send(gone, 1, stream));
  }
  Bytes bytes(100);
  EXPECT_THROW(receiver->wait(receiver->post_recv(bytes, 0, stream), stream), RankLost);
}

TEST(LocalGroup, SumsOfDifferentLengthsAreNamed) {
  on_every_rank(3, [](Transport& transport, device::Stream&) {
    std::vector<double> values(transport.rank() == 1 ? 4 : 5, 1.0);
    try {
      transport.all_reduce_sum(values);
      ADD_FAILURE() << "the mismatch went unnoticed";
    } catch (const InternalError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("40"), std::string::npos) << text;
      EXPECT_NE(text.find("32"), std::string::npos) << text;
    }
    // Nobody is left in the middle of the failed one.
    std::vector<double> ones(7, 1.0);
    transport.all_reduce_sum(ones);
    EXPECT_EQ(ones[6], 3.0);
  });
}

TEST(LocalGroup, ManySmallMessagesBetweenManyRanksAllArrive) {
  // For the thread sanitizer: both sides match, copy and wait at once, over and over.
  constexpr int kRounds = 400;
  on_every_rank(6, [](Transport& transport, device::Stream& stream) {
    const int n = transport.world_size();
    const int next = (transport.rank() + 1) % n;
    const int previous = (transport.rank() + n - 1) % n;
    for (int round = 0; round < kRounds; ++round) {
      const Bytes sent(64, static_cast<std::byte>(round + transport.rank()));
      Bytes received(64);
      const Request receive = transport.post_recv(received, previous, stream);
      const Request send = transport.send(sent, next, stream);
      transport.publish({.step = round, .text = "ring"});
      transport.wait(receive, stream);
      transport.wait(send, stream);
      ASSERT_EQ(received, Bytes(64, static_cast<std::byte>(round + previous)));
    }
  });
}

TEST(LocalTransportThatGivesUp, HasNoBufferTouchedAnyMore) {
  LocalGroup group(2);
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 2; ++rank) {
    ranks.emplace_back([&group, rank] {
      const auto transport = group.make_transport(rank);
      ImmediateStream stream;
      Bytes bytes(1000, static_cast<std::byte>(rank));
      if (rank == 0) static_cast<void>(transport->post_recv(bytes, 1, stream));
      transport->barrier();
      if (rank == 0) transport->give_up_messages();
      transport->barrier();
      if (rank == 1) static_cast<void>(transport->send(bytes, 0, stream));
      transport->barrier();
      EXPECT_EQ(bytes, Bytes(1000, static_cast<std::byte>(rank)));
      if (rank == 1) transport->give_up_messages();
    });
  }
  for (std::thread& rank : ranks) rank.join();
}

}  // namespace
}  // namespace halfpipe::transport
