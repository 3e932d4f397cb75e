// SPDX-License-Identifier: Apache-2.0
// Messages between emulated GPUs by the emulation's NCCL, whose streams run as late and as early as
// they may: whoever touches bytes without waiting for the right stream finds the wrong ones.
#include "parallel/transport/nccl_transport.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/device/buffer.h"
#include "parallel/transport/local_group.h"
#include "parallel/transport/nccl_factory.h"
#include "parallel/transport/rank_lost.h"

namespace halfpipe::transport {
namespace {

using device::Buffer;
using device::MemoryKind;
using Clock = std::chrono::steady_clock;

struct Rank {
  Transport& transport;
  device::Backend& backend;
  device::Stream& stream;

  [[nodiscard]] int rank() const { return transport.rank(); }
  [[nodiscard]] int next() const { return (rank() + 1) % transport.world_size(); }
  [[nodiscard]] int previous() const {
    return (rank() + transport.world_size() - 1) % transport.world_size();
  }
};

using Body = std::function<void(Rank)>;

/// What the rank throws becomes a failure, and is returned.
std::string run_rank(
    LocalGroup& group, int rank, double timeout_seconds, Reach reach, const Body& body) {
  const std::unique_ptr<Transport> carrier = group.make_transport(rank);
  carrier->set_timeout(timeout_seconds);
  try {
    const auto backend = cuda::make_cuda_backend(0);
    require_own_devices(*carrier, *backend);
    const auto transport = make_nccl_transport(*carrier, *backend, reach);
    const auto stream = backend->make_stream("compute");
    // These ranks share a device, and cudaFree() waits for all of it: nobody posts a receive before
    // the others have freed what they warmed up with.
    carrier->barrier();
    body({*transport, *backend, *stream});
    transport->synchronize(*stream);
  } catch (const std::exception& error) {
    group.abort(1, error.what());
    return error.what();
  }
  return "";
}

/// The errors of all ranks.
std::vector<std::string> run_ranks(int world_size,
                                   double timeout_seconds,
                                   const Body& body,
                                   Reach reach = Reach::kNeighbours) {
  LocalGroup group(world_size);
  std::vector<std::string> errors(static_cast<std::size_t>(world_size));
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < world_size; ++rank) {
    ranks.emplace_back([&, rank] {
      errors[static_cast<std::size_t>(rank)] = run_rank(group, rank, timeout_seconds, reach, body);
    });
  }
  for (std::thread& each : ranks) each.join();
  return errors;
}

void on_every_rank(int world_size, const Body& body, Reach reach = Reach::kNeighbours) {
  const std::vector<std::string> errors = run_ranks(world_size, 20.0, body, reach);
  EXPECT_EQ(errors, std::vector<std::string>(static_cast<std::size_t>(world_size)));
}

std::byte value_of(int sender, int receiver, int number) {
  return static_cast<std::byte>(1 + sender * 50 + receiver * 10 + number);
}

/// Device memory of one message.
class Place {
 public:
  Place(const Rank& me, std::size_t num_bytes)
      : me_(me),
        memory_(me.backend, num_bytes),
        host_(me.backend, num_bytes, MemoryKind::kPinned) {}

  /// On the stream.
  void fill(std::byte value) {
    me_.backend.fill_async(memory_.bytes_pointer(), value, memory_.bytes(), me_.stream);
  }
  /// On the stream; `copied()` has it after the stream's end.
  void copy_to_host() {
    me_.backend.copy_async(host_.bytes_pointer(), memory_.bytes_pointer(), memory_.bytes(),
                           me_.stream);
  }
  [[nodiscard]] std::vector<std::byte> copied() const {
    std::vector<std::byte> bytes(host_.bytes());
    std::memcpy(bytes.data(), host_.bytes_pointer(), bytes.size());
    return bytes;
  }
  [[nodiscard]] std::span<std::byte> span() { return {memory_.bytes_pointer(), memory_.bytes()}; }

 private:
  Rank me_;
  Buffer memory_;
  Buffer host_;
};

std::vector<std::byte> all_of(std::byte value, std::size_t num_bytes) {
  return std::vector<std::byte>(num_bytes, value);
}

TEST(NcclTransport, MessagesGoRoundTheRingBothWays) {
  constexpr std::size_t kBytes = 3001;
  for (const int world_size : {2, 3, 5}) {
    on_every_rank(world_size, [](Rank me) {
      // Freed when nothing is under way any more: see above.
      Place out(me, kBytes);
      Place in(me, kBytes);
      for (const bool forwards : {true, false}) {
        const int to = forwards ? me.next() : me.previous();
        const int from = forwards ? me.previous() : me.next();
        out.fill(value_of(me.rank(), to, 0));
        const Request receive = me.transport.post_recv(in.span(), from, me.stream);
        const Request send = me.transport.send(out.span(), to, me.stream);
        me.transport.wait(send, me.stream);
        me.transport.wait(receive, me.stream);
        in.copy_to_host();
        me.transport.synchronize(me.stream);
        EXPECT_EQ(in.copied(), all_of(value_of(from, me.rank(), 0), kBytes));
      }
    });
  }
}

TEST(NcclTransport, MessagesGoBetweenEveryPair) {
  constexpr std::size_t kBytes = 301;
  for (const int world_size : {2, 3, 4, 5}) {
    const auto exchange = [&](Rank me) {
      std::vector<std::unique_ptr<Place>> out;
      std::vector<std::unique_ptr<Place>> in;
      std::vector<Request> requests;
      for (int other = 0; other < world_size; ++other) {
        out.push_back(std::make_unique<Place>(me, kBytes));
        in.push_back(std::make_unique<Place>(me, kBytes));
        if (other == me.rank()) continue;
        out.back()->fill(value_of(me.rank(), other, 0));
        requests.push_back(me.transport.post_recv(in.back()->span(), other, me.stream));
        requests.push_back(me.transport.send(out.back()->span(), other, me.stream));
      }
      for (const Request request : requests) me.transport.wait(request, me.stream);
      for (const auto& place : in) place->copy_to_host();
      me.transport.synchronize(me.stream);
      for (int other = 0; other < world_size; ++other) {
        if (other == me.rank()) continue;
        EXPECT_EQ(in[static_cast<std::size_t>(other)]->copied(),
                  all_of(value_of(other, me.rank(), 0), kBytes));
      }
    };
    on_every_rank(world_size, exchange, Reach::kEveryPair);
  }
}

TEST(NcclTransport, OneRankNeedsNobody) {
  on_every_rank(1, [](Rank me) {
    EXPECT_EQ(me.transport.message_memory(), MemoryKind::kDevice);
    Place place(me, 1);
    EXPECT_THROW(static_cast<void>(me.transport.send(place.span(), 0, me.stream)), InternalError);
  });
}

// Sends are started before the receives of the other side are, and waited for in another order.
TEST(NcclTransport, EachDirectionIsAFifo) {
  on_every_rank(2, [](Rank me) {
    constexpr int kMessages = 5;
    const auto size_of = [](int number) { return static_cast<std::size_t>(number) * 17; };
    const int peer = me.next();
    std::vector<std::unique_ptr<Place>> in;
    std::vector<std::unique_ptr<Place>> out;
    std::vector<Request> requests;
    for (int number = 0; number < kMessages; ++number) {
      out.push_back(std::make_unique<Place>(me, size_of(number)));
      out.back()->fill(value_of(me.rank(), peer, number));
      requests.push_back(me.transport.send(out.back()->span(), peer, me.stream));
    }
    for (int number = 0; number < kMessages; ++number) {
      in.push_back(std::make_unique<Place>(me, size_of(number)));
      requests.push_back(me.transport.post_recv(in.back()->span(), peer, me.stream));
    }
    for (auto each = requests.rbegin(); each != requests.rend(); ++each) {
      me.transport.wait(*each, me.stream);
    }
    for (const auto& place : in) place->copy_to_host();
    me.transport.synchronize(me.stream);
    for (int number = 0; number < kMessages; ++number) {
      EXPECT_EQ(in[static_cast<std::size_t>(number)]->copied(),
                all_of(value_of(peer, me.rank(), number), size_of(number)));
    }
  });
}

// One buffer on either side, filled and read by the stream alone: no host waits between.
TEST(NcclTransport, BytesAreReadAfterTheStreamHasMadeThemAndOverwrittenAfterItHasReadThem) {
  on_every_rank(2, [](Rank me) {
    constexpr int kRounds = 6;
    constexpr std::size_t kBytes = 100;
    const int peer = me.next();
    Place out(me, kBytes);
    Place in(me, kBytes);
    const Buffer seen(me.backend, kRounds * kBytes, MemoryKind::kPinned);
    for (int round = 0; round < kRounds; ++round) {
      out.fill(value_of(me.rank(), peer, round));
      const Request receive = me.transport.post_recv(in.span(), peer, me.stream);
      const Request send = me.transport.send(out.span(), peer, me.stream);
      me.transport.wait(send, me.stream);
      me.transport.wait(receive, me.stream);
      me.backend.copy_async(seen.bytes_pointer() + static_cast<std::size_t>(round) * kBytes,
                            in.span().data(), kBytes, me.stream);
    }
    me.transport.synchronize(me.stream);
    for (int round = 0; round < kRounds; ++round) {
      const std::byte* const begin =
          seen.bytes_pointer() + static_cast<std::size_t>(round) * kBytes;
      EXPECT_EQ(std::vector(begin, begin + kBytes),
                all_of(value_of(peer, me.rank(), round), kBytes));
    }
  });
}

TEST(NcclTransport, ADeadlineThatPassesLeavesTheRequestToBeWaitedFor) {
  on_every_rank(2, [](Rank me) {
    Place in(me, 40);
    Place out(me, 40);
    out.fill(std::byte{7});
    const Request receive = me.transport.post_recv(in.span(), me.next(), me.stream);
    EXPECT_FALSE(me.transport.wait_until(receive, me.stream, Clock::now()));
    me.transport.barrier();
    const Request send = me.transport.send(out.span(), me.next(), me.stream);
    EXPECT_TRUE(me.transport.wait_until(receive, me.stream, Clock::time_point::max()));
    me.transport.wait(send, me.stream);
    in.copy_to_host();
    me.transport.synchronize(me.stream);
    EXPECT_EQ(in.copied(), all_of(std::byte{7}, 40));
    EXPECT_THROW(me.transport.wait(receive, me.stream), InternalError);
  });
}

// The message that rank 0 waits for never comes; its memory is freed all the same.
TEST(NcclTransport, AMessageThatDoesNotComeIsMissed) {
  const std::vector<std::string> errors = run_ranks(2, 1.5, [](Rank me) {
    if (me.rank() == 1) {
      me.transport.set_timeout(0.0);
      me.transport.barrier();
      return;
    }
    Place in(me, 4096);
    me.transport.wait(me.transport.post_recv(in.span(), 1, me.stream), me.stream);
    try {
      me.transport.synchronize(me.stream);
    } catch (const RankLost& lost) {
      EXPECT_NE(std::string(lost.what()).find("receive of 4096 bytes"), std::string::npos)
          << lost.what();
      throw;
    }
    ADD_FAILURE() << "the wait ended";
  });
  for (const std::string& error : errors) EXPECT_NE(error, "");
}

// A step of minutes in which nobody says anything would be taken for a stalled one.
TEST(NcclTransport, TheHostIsNotManyMessagesAheadOfItsDevice) {
  const std::vector<std::string> errors = run_ranks(2, 0.5, [](Rank me) {
    if (me.rank() == 1) {
      me.transport.set_timeout(0.0);
      me.transport.barrier();
      return;
    }
    Place in(me, 3);
    for (int number = 0; number < 30; ++number) {
      me.transport.wait(me.transport.post_recv(in.span(), 1, me.stream), me.stream);
    }
    ADD_FAILURE() << "the host has waited for messages that never came";
  });
  EXPECT_NE(errors[0].find("receive of 3 bytes"), std::string::npos) << errors[0];
}

TEST(NcclTransport, RanksThatShareADeviceAreRefused) {
  ::setenv("HALFPIPE_EMULATION_ONE_GPU", "1", /*overwrite=*/1);
  const std::vector<std::string> errors = run_ranks(3, 20.0, [](Rank) {});
  ::unsetenv("HALFPIPE_EMULATION_ONE_GPU");
  for (const std::string& error : errors) {
    EXPECT_NE(error.find("ranks 0 and 1 share"), std::string::npos) << error;
  }
}

// As when a pass fails while the receive of a later one is posted.
TEST(NcclTransport, MessagesThatAreGivenUpHoldNothingUp) {
  const std::vector<std::string> errors = run_ranks(2, 20.0, [](Rank me) {
    Place in(me, 4096);
    const Request posted = me.transport.post_recv(in.span(), me.next(), me.stream);
    static_cast<void>(posted);
    me.transport.give_up_messages();
    throw InternalError("a pass failed");
  });
  for (const std::string& error : errors) EXPECT_EQ(error, "a pass failed");
}

}  // namespace
}  // namespace halfpipe::transport
