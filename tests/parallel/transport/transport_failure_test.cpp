// SPDX-License-Identifier: Apache-2.0
// What every transport promises when something goes wrong: misuse, messages that do not fit, ranks
// that stall or leave.
#include <string>
#include <thread>

#include "kernels/core/error.h"
#include "parallel/transport/rank_lost.h"
#include "tests/parallel/transport/transport_contract.h"

namespace halfpipe::transport {
namespace {

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

}  // namespace
}  // namespace halfpipe::transport
