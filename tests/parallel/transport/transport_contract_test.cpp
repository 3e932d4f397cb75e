// SPDX-License-Identifier: Apache-2.0
// What every transport promises (parallel/transport/transport.h), whatever its ranks are.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>

#include "kernels/core/error.h"
#include "parallel/transport/rank_lost.h"
#include "tests/parallel/transport/allocation_count.h"
#include "tests/parallel/transport/lazy_stream.h"
#include "tests/parallel/transport/transport_ranks.h"

namespace halfpipe::transport {
namespace {

using std::chrono::milliseconds;
using Bytes = std::vector<std::byte>;
using Clock = std::chrono::steady_clock;

/// Bytes that depend on sender, receiver, number and position: no message looks like another one.
Bytes message(int src, int dst, int number, std::size_t size) {
  Bytes bytes(size);
  auto value = static_cast<std::uint32_t>(src * 7919 + dst * 104729 + number * 1299709 + 1);
  for (std::byte& each : bytes) {
    value = value * 1664525U + 1013904223U;
    each = static_cast<std::byte>(value >> 24U);
  }
  return bytes;
}

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

class TransportContract : public ::testing::TestWithParam<int> {
 protected:
  static void on_every_rank(const Body& body) { transport::on_every_rank(GetParam(), body); }
  /// The ranks of a test about two of them; false when there is but one rank.
  static bool has_pair() { return GetParam() >= 2; }
};

TEST_P(TransportContract, RanksKnowTheirPlace) {
  on_every_rank([](Transport& transport, device::Stream&) {
    EXPECT_EQ(transport.world_size(), GetParam());
    EXPECT_EQ(transport.ranks_on_this_host(), GetParam());
    EXPECT_EQ(transport.rank_on_this_host(), transport.rank());
    EXPECT_GE(transport.rank(), 0);
    EXPECT_LT(transport.rank(), GetParam());
  });
}

TEST_P(TransportContract, MessagesOfEverySizeGoRoundTheRing) {
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{16} << 10U, std::size_t{4} << 20U}) {
    on_every_rank([size](Transport& transport, device::Stream& stream) {
      const int n = transport.world_size();
      const int next = (transport.rank() + 1) % n;
      const int previous = (transport.rank() + n - 1) % n;
      const Bytes sent = message(transport.rank(), next, 0, size);
      Bytes received(size, std::byte{0xEE});
      // All send before anybody receives: a send never waits for its receive.
      const Request send = transport.send(sent, next, stream);
      transport.barrier();
      const Request receive = transport.post_recv(received, previous, stream);
      transport.wait(receive, stream);
      transport.wait(send, stream);
      EXPECT_EQ(received, message(previous, transport.rank(), 0, size)) << size << " bytes";
    });
  }
}

TEST_P(TransportContract, EachPairIsAFifoInBothDirections) {
  on_every_rank([](Transport& transport, device::Stream& stream) {
    constexpr int kMessages = 60;
    const int n = transport.world_size();
    const int own = transport.rank();
    auto size_of_message = [](int k) {
      const auto number = static_cast<std::size_t>(k);
      return number * 37 % 5 * 3000 + number;
    };
    auto place = [](int peer, int k) {
      return static_cast<std::size_t>(peer) * kMessages + static_cast<std::size_t>(k);
    };
    std::vector<Bytes> inbox;
    std::vector<Bytes> outbox;
    std::vector<Request> requests;
    for (int peer = 0; peer < n; ++peer) {
      for (int k = 0; k < kMessages; ++k) {
        inbox.emplace_back(size_of_message(k));
        outbox.push_back(message(own, peer, k, size_of_message(k)));
      }
    }
    for (int peer = 0; peer < n; ++peer) {
      for (int k = 0; k < kMessages; ++k) {
        const std::size_t at = place(peer, k);
        if (k % 2 == 0) requests.push_back(transport.post_recv(inbox[at], peer, stream));
        requests.push_back(transport.send(outbox[at], peer, stream));
        if (k % 2 != 0) requests.push_back(transport.post_recv(inbox[at], peer, stream));
      }
    }
    // Waited for in another order than started.
    for (auto at = requests.rbegin(); at != requests.rend(); ++at) transport.wait(*at, stream);
    for (int peer = 0; peer < n; ++peer) {
      for (int k = 0; k < kMessages; ++k) {
        EXPECT_EQ(inbox[place(peer, k)], message(peer, own, k, size_of_message(k)));
      }
    }
  });
}

TEST_P(TransportContract, AWaitWithADeadlineLeavesTheRequestToBeWaitedFor) {
  if (!has_pair()) return;
  on_every_rank([](Transport& transport, device::Stream& stream) {
    constexpr std::size_t kBytes = 100;
    if (transport.rank() == 1) {
      Bytes received(kBytes);
      const Request receive = transport.post_recv(received, 0, stream);
      EXPECT_FALSE(transport.wait_until(receive, stream, Clock::time_point{}));
      const auto deadline = Clock::now() + milliseconds(30);
      EXPECT_FALSE(transport.wait_until(receive, stream, deadline));
      EXPECT_GE(Clock::now(), deadline);
      transport.barrier();  // the message leaves now
      transport.barrier();  // and has left
      EXPECT_TRUE(transport.wait_until(receive, stream, Clock::now() + std::chrono::seconds(10)));
      EXPECT_EQ(received, message(0, 1, 0, kBytes));
      return;
    }
    transport.barrier();
    const Bytes sent = message(0, 1, 0, kBytes);
    if (transport.rank() == 0) transport.wait(transport.send(sent, 1, stream), stream);
    transport.barrier();
  });
}

TEST_P(TransportContract, ReceivesMayBePostedLongBeforeOrAfterTheSend) {
  if (!has_pair()) return;
  on_every_rank([](Transport& transport, device::Stream& stream) {
    constexpr std::size_t kBytes = 100'000;
    for (const bool early : {true, false}) {
      if (transport.rank() == 0) {
        const Bytes sent = message(0, 1, early ? 1 : 2, kBytes);
        if (early) std::this_thread::sleep_for(milliseconds(30));
        transport.wait(transport.send(sent, 1, stream), stream);
      } else if (transport.rank() == 1) {
        Bytes received(kBytes);
        if (!early) std::this_thread::sleep_for(milliseconds(30));
        transport.wait(transport.post_recv(received, 0, stream), stream);
        EXPECT_EQ(received, message(0, 1, early ? 1 : 2, kBytes));
      }
    }
  });
}

TEST_P(TransportContract, AMessageIsReadAndOverwrittenAfterTheWorkAlreadyOnTheStream) {
  constexpr std::size_t kBytes = 50'000;
  on_every_rank([](Transport& transport, device::Stream&) {
    const int n = transport.world_size();
    const int next = (transport.rank() + 1) % n;
    const int previous = (transport.rank() + n - 1) % n;
    // A pass still reads what the receive will overwrite, and one writes what is sent; the latter
    // on another stream, as a pass does for a stream of sends.
    LazyStream compute;
    LazyStream communication;
    LazyEvent produced;
    Bytes seen;
    Bytes received = message(9, 9, 9, kBytes);
    Bytes sent(kBytes);
    compute.enqueue(
        [&] { std::ranges::copy(message(transport.rank(), next, 0, kBytes), sent.begin()); });
    compute.record(produced);
    communication.wait_for(produced);
    const Request send = transport.send(sent, next, communication);
    transport.barrier();  // every message is under way before its receive is posted
    compute.enqueue([&] { seen = received; });
    const Request receive = transport.post_recv(received, previous, compute);
    transport.wait(receive, compute);
    transport.wait(send, compute);
    Bytes used;
    compute.enqueue([&] { used = received; });
    compute.synchronize();
    EXPECT_EQ(seen, message(9, 9, 9, kBytes)) << "overwritten while a pass had yet to read it";
    EXPECT_EQ(used, message(previous, transport.rank(), 0, kBytes));
  });
}

TEST_P(TransportContract, MessagesArriveWhileTheSenderIsBusyWithSomethingElse) {
  if (!has_pair()) return;
  on_every_rank([](Transport& transport, device::Stream& stream) {
    constexpr std::size_t kBytes = 1U << 20U;
    Bytes bytes = transport.rank() == 0 ? message(0, 1, 0, kBytes) : Bytes(kBytes);
    transport.barrier();
    const auto start = Clock::now();
    if (transport.rank() == 0) {
      const Request send = transport.send(bytes, 1, stream);
      std::this_thread::sleep_for(milliseconds(600));
      transport.wait(send, stream);
    } else if (transport.rank() == 1) {
      transport.wait(transport.post_recv(bytes, 0, stream), stream);
      // About 1 ms; the bound leaves room for a loaded machine and is half of the sender's sleep.
      EXPECT_LT(milliseconds_since(start), 300.0);
      EXPECT_EQ(bytes, message(0, 1, 0, kBytes));
    }
  });
}

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

TEST_P(TransportContract, TheCallsOfAStepAllocateNothingAfterTheFirstStep) {
  on_every_rank([](Transport& transport, device::Stream& stream) {
    const int n = transport.world_size();
    const Bytes sent(20'000);
    Bytes received(sent.size());
    std::vector<double> sums(300);
    std::int64_t allocations_before = 0;
    for (int step = 0; step < 5; ++step) {
      if (step == 1) allocations_before = num_allocations();
      transport.publish({.step = step, .text = "forward"});
      const Request receive = transport.post_recv(received, (transport.rank() + n - 1) % n, stream);
      const Request send = transport.send(sent, (transport.rank() + 1) % n, stream);
      transport.wait(receive, stream);
      transport.wait(send, stream);
      transport.all_reduce_sum(sums);
      transport.all_reduce_sum({sums.data(), 1});  // a shorter one, as an evaluation makes
      transport.barrier();
    }
    EXPECT_EQ(num_allocations() - allocations_before, 0);
  });
}

// ---- what goes wrong ----

TEST_P(TransportContract, ARequestIsWaitedForOnce) {
  on_every_rank([](Transport& transport, device::Stream& stream) {
    Bytes one(8);
    Bytes other(8);
    const Request receive = transport.post_recv(other, transport.rank(), stream);
    transport.wait(transport.send(one, transport.rank(), stream), stream);
    transport.wait(receive, stream);
    EXPECT_THROW(transport.wait(receive, stream), InternalError);
    EXPECT_THROW(transport.wait(Request{}, stream), InternalError);
    EXPECT_THROW(static_cast<void>(transport.post_recv(one, transport.world_size(), stream)),
                 InternalError);
    EXPECT_THROW(static_cast<void>(transport.send(one, -1, stream)), InternalError);
  });
}

TEST_P(TransportContract, SizesThatDisagreeAreNamed) {
  if (!has_pair()) return;
  // Too short by far: a transport that copies first and asks later damages memory.
  for (const std::size_t receive_bytes : {std::size_t{120'000}, std::size_t{24}}) {
    on_every_rank([receive_bytes](Transport& transport, device::Stream& stream) {
      Bytes sent(50'000);
      Bytes received(receive_bytes);
      if (transport.rank() == 0) {
        // The receiver notices; the send may never complete, so it is not waited for.
        static_cast<void>(transport.send(sent, 1, stream));
      } else if (transport.rank() == 1) {
        const Request receive = transport.post_recv(received, 0, stream);
        try {
          transport.wait(receive, stream);
          ADD_FAILURE() << "the mismatch went unnoticed";
        } catch (const InternalError& error) {
          const std::string text = error.what();
          EXPECT_NE(text.find("50000"), std::string::npos) << text;
          EXPECT_NE(text.find(std::to_string(receive_bytes)), std::string::npos) << text;
        }
      }
      transport.barrier();
    });
  }
}

TEST_P(TransportContract, AStalledWaitNamesTheRankWaitedForAndWhatItDoes) {
  if (!has_pair()) return;
  on_every_rank([](Transport& transport, device::Stream& stream) {
    if (transport.rank() == 0) {
      transport.publish({.step = 7, .instruction = 12, .text = "forward of micro-batch 3"});
    }
    transport.barrier();
    if (transport.rank() != 1) {
      std::this_thread::sleep_for(milliseconds(1000));
      return;
    }
    transport.publish({.step = 7, .instruction = 4, .text = "wait_recv activation", .peer = 0});
    transport.set_timeout(0.3);
    Bytes bytes(64);
    const auto start = Clock::now();
    try {
      transport.wait(transport.post_recv(bytes, 0, stream), stream);
      ADD_FAILURE() << "waited for a message that nobody sends, and returned";
    } catch (const RankLost& lost) {
      EXPECT_GE(milliseconds_since(start), 290.0);
      const std::string text = lost.what();
      for (const char* part : {"rank 1/", "waited 0.3 s for rank 0 (receive)", "step 7",
                               "wait_recv activation", "rank 0/", "forward of micro-batch 3"}) {
        EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in: " << text;
      }
    }
    EXPECT_THROW(static_cast<void>(transport.post_recv(bytes, 0, stream)), RankLost);
    EXPECT_THROW(transport.barrier(), RankLost);
  });
}

TEST_P(TransportContract, AStalledBarrierIsReported) {
  if (!has_pair()) return;
  on_every_rank([](Transport& transport, device::Stream&) {
    if (transport.rank() == 0) {
      std::this_thread::sleep_for(milliseconds(1000));
      return;
    }
    transport.set_timeout(0.3);
    try {
      transport.barrier();
      ADD_FAILURE() << "passed a barrier without rank 0";
    } catch (const RankLost& lost) {
      EXPECT_NE(std::string(lost.what()).find("barrier"), std::string::npos) << lost.what();
    }
  });
}

TEST_P(TransportContract, ARankThatMovesIsNotStalled) {
  if (!has_pair()) return;
  on_every_rank([](Transport& transport, device::Stream& stream) {
    // Four times the timeout without a message, but never without a sign of life.
    transport.set_timeout(0.4);
    Bytes bytes(64);
    transport.barrier();
    if (transport.rank() == 0) {
      for (int i = 0; i < 32; ++i) {
        std::this_thread::sleep_for(milliseconds(50));
        transport.publish({.step = 1, .instruction = i, .text = "forward"});
      }
      transport.wait(transport.send(bytes, 1, stream), stream);
    } else if (transport.rank() == 1) {
      transport.wait(transport.post_recv(bytes, 0, stream), stream);
    }
    transport.barrier();
  });
}

TEST_P(TransportContract, WaitingForARankThatHasLeftIsReported) {
  if (!has_pair()) return;
  on_every_rank([](Transport& transport, device::Stream& stream) {
    transport.barrier();
    if (transport.rank() != 1) return;
    Bytes bytes(64);
    try {
      transport.wait(transport.post_recv(bytes, 0, stream), stream);
      ADD_FAILURE() << "received from a rank that has left";
    } catch (const RankLost& lost) {
      EXPECT_NE(std::string(lost.what()).find("has ended"), std::string::npos) << lost.what();
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks,
                         TransportContract,
                         ::testing::ValuesIn(world_sizes()),
                         [](const auto& param) { return "World" + std::to_string(param.param); });

}  // namespace
}  // namespace halfpipe::transport
