// SPDX-License-Identifier: Apache-2.0
// What every transport promises of messages. Collectives: collective_contract_test.cpp; what goes
// wrong: transport_failure_test.cpp.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "tests/parallel/transport/allocation_count.h"
#include "tests/parallel/transport/lazy_stream.h"
#include "tests/parallel/transport/transport_contract.h"

namespace halfpipe::transport {
namespace {

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

INSTANTIATE_TEST_SUITE_P(Ranks,
                         TransportContract,
                         ::testing::ValuesIn(world_sizes()),
                         [](const auto& param) { return "World" + std::to_string(param.param); });

}  // namespace
}  // namespace halfpipe::transport
