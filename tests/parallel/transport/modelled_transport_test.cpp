// SPDX-License-Identifier: Apache-2.0
// Messages between modelled devices arrive when the link would have brought them, whatever carries
// them and whenever the hosts look.
#include "parallel/transport/modelled_transport.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/modelled/modelled_stream.h"
#include "parallel/transport/unmodelled_transport.h"
#include "tests/parallel/transport/transport_ranks.h"

namespace halfpipe::transport {
namespace {

using modelled::Clock;
using modelled::ModelledStream;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr ModelledLink kLink{.latency_seconds = 2e-3, .bytes_per_second = 1e6};
constexpr std::size_t kBytes = 1000;  // 1 ms on the link

/// Only its size is looked at: the bytes are not there.
std::span<std::byte> no_bytes(std::size_t size) {
  return {static_cast<std::byte*>(nullptr), size};
}

/// The same number on every rank: rank 0's.
std::int64_t of_rank_zero(std::int64_t mine, Transport& transport) {
  const auto all = transport.all_gather(std::as_bytes(std::span(&mine, 1)));
  std::int64_t value = 0;
  std::memcpy(&value, all.front().data(), sizeof(value));
  return value;
}

std::int64_t ticks(Clock::time_point time) {
  return nanoseconds(time.time_since_epoch()).count();
}

void on_modelled_ranks(const std::function<void(Transport&, ModelledStream&)>& body) {
  const int world_size = world_sizes().back();
  on_every_rank(world_size, [&](Transport& carrier, device::Stream&) {
    ModelledTransport transport(
        carrier, std::vector<ModelledLink>(static_cast<std::size_t>(world_size), kLink));
    ModelledStream stream;
    body(transport, stream);
    transport.barrier();
  });
}

TEST(ModelledTransport, AMessageTakesLatencyAndBytesFromTheEndOfThePass) {
  on_modelled_ranks([](Transport& transport, ModelledStream& stream) {
    std::int64_t end_of_pass = 0;
    Request request;
    if (transport.rank() == 0) {
      stream.enqueue(100e-3);
      end_of_pass = ticks(stream.free_at());
      request = transport.send(no_bytes(kBytes), 1, stream);
      transport.wait(request, stream);
      // The buffer is free when its bytes have gone.
      EXPECT_EQ(ticks(stream.free_at()) - end_of_pass, nanoseconds(milliseconds(1)).count());
    }
    if (transport.rank() == 1) request = transport.post_recv(no_bytes(kBytes), 0, stream);
    end_of_pass = of_rank_zero(end_of_pass, transport);
    if (transport.rank() != 1) return;
    // The message has been there for long, so only the link counts.
    modelled::sleep_until(Clock::now() + milliseconds(100));
    transport.wait(request, stream);
    EXPECT_EQ(ticks(stream.free_at()) - end_of_pass, nanoseconds(milliseconds(3)).count());
  });
}

TEST(ModelledTransport, ALinkTakesOneMessageAtATime) {
  on_modelled_ranks([](Transport& transport, ModelledStream& stream) {
    constexpr int kMessages = 3;
    std::vector<Request> requests;
    std::int64_t start = 0;
    if (transport.rank() == 0) {
      stream.enqueue(100e-3);
      start = ticks(stream.free_at());
      for (int i = 0; i < kMessages; ++i) {
        requests.push_back(transport.send(no_bytes(kBytes), 1, stream));
      }
      // Another link is free.
      if (transport.world_size() > 2) {
        const Request other = transport.send(no_bytes(kBytes), 2, stream);
        ModelledStream elsewhere;
        transport.wait(other, elsewhere);
        EXPECT_EQ(ticks(elsewhere.free_at()) - start, nanoseconds(milliseconds(1)).count());
      }
      for (const Request& request : requests) transport.wait(request, stream);
    }
    if (transport.rank() == 2) {
      transport.wait(transport.post_recv(no_bytes(kBytes), 0, stream), stream);
    }
    if (transport.rank() == 1) {
      for (int i = 0; i < kMessages; ++i) {
        requests.push_back(transport.post_recv(no_bytes(kBytes), 0, stream));
      }
    }
    start = of_rank_zero(start, transport);
    if (transport.rank() != 1) return;
    modelled::sleep_until(Clock::now() + milliseconds(100));
    for (int i = 0; i < kMessages; ++i) {
      transport.wait(requests[static_cast<std::size_t>(i)], stream);
      EXPECT_EQ(ticks(stream.free_at()) - start, nanoseconds(milliseconds(3 + i)).count()) << i;
    }
  });
}

TEST(ModelledTransport, WorkAfterTheWaitStartsAfterTheArrival) {
  on_modelled_ranks([](Transport& transport, ModelledStream& stream) {
    Request request;
    std::int64_t end_of_pass = 0;
    if (transport.rank() == 1) {
      request = transport.post_recv(no_bytes(kBytes), 0, stream);
      EXPECT_FALSE(transport.wait_until(request, stream, Clock::time_point{}));
      EXPECT_FALSE(transport.wait_until(request, stream, Clock::now() + milliseconds(1)));
    }
    transport.barrier();
    if (transport.rank() == 0) {
      stream.enqueue(20e-3);
      end_of_pass = ticks(stream.free_at());
      transport.wait(transport.send(no_bytes(kBytes), 1, stream), stream);
    }
    Clock::time_point arrival;
    if (transport.rank() == 1) {
      transport.wait(request, stream);
      arrival = stream.free_at();
      stream.enqueue(1e-3);
      EXPECT_GE(stream.free_at() - arrival, milliseconds(1));
    }
    end_of_pass = of_rank_zero(end_of_pass, transport);
    if (transport.rank() == 1) {
      EXPECT_GE(ticks(arrival) - end_of_pass, nanoseconds(milliseconds(3)).count());
    }
  });
}

TEST(ModelledTransport, TheHostWaitsForItsOwnSendsInTheRightOrder) {
  // Rank 0 waits for a message of rank 1 that rank 1 sends only when it has one of rank 0, whose
  // pass ends while rank 0 waits: the wait has to send it.
  on_modelled_ranks([](Transport& transport, ModelledStream& stream) {
    if (transport.rank() > 1) return;
    const int other = 1 - transport.rank();
    const Request receive = transport.post_recv(no_bytes(kBytes), other, stream);
    if (transport.rank() == 1) transport.wait(receive, stream);
    stream.enqueue(10e-3);
    const Request send = transport.send(no_bytes(kBytes), other, stream);
    if (transport.rank() == 0) transport.wait(receive, stream);
    transport.wait(send, stream);
  });
}

TEST(ModelledTransport, LinksOfOneAdapterTakeOneMessageAtATime) {
  const int world_size = world_sizes().back();
  if (world_size < 3) GTEST_SKIP() << "one link alone";
  on_every_rank(world_size, [&](Transport& carrier, device::Stream&) {
    ModelledLink link = kLink;
    link.adapter = 1;
    std::vector<ModelledLink> links(static_cast<std::size_t>(world_size), link);
    links[0].adapter = 0;
    ModelledTransport transport(carrier, links);
    if (transport.rank() == 0) {
      ModelledStream pass;
      pass.enqueue(20e-3);
      const Clock::time_point start = pass.free_at();
      for (int other = 1; other < world_size; ++other) {
        const Request request = transport.send(no_bytes(kBytes), other, pass);
        ModelledStream elsewhere;
        transport.wait(request, elsewhere);
        EXPECT_EQ(elsewhere.free_at() - start, milliseconds(other)) << other;
      }
    } else {
      ModelledStream stream;
      transport.wait(transport.post_recv(no_bytes(kBytes), 0, stream), stream);
    }
    transport.barrier();
  });
}

TEST(ModelledTransport, SendsOfAnotherTransportLeaveWhileTheHostWaits) {
  // Rank 0 waits in one transport for what rank 1 sends when it has rank 0's message of the other.
  const int world_size = world_sizes().back();
  on_every_rank(world_size, [&](Transport& carrier, device::Stream&) {
    const std::vector<ModelledLink> links(static_cast<std::size_t>(world_size), kLink);
    Departures departures;
    ModelledTransport one(carrier, links, &departures);
    ModelledTransport other(carrier, links, &departures);
    ModelledStream stream;
    if (carrier.rank() == 0) {
      const Request receive = one.post_recv(no_bytes(kBytes), 1, stream);
      ModelledStream elsewhere;
      elsewhere.enqueue(10e-3);
      const Request send = other.send(no_bytes(kBytes), 1, elsewhere);
      one.wait(receive, stream);
      other.wait(send, elsewhere);
    }
    if (carrier.rank() == 1) {
      other.wait(other.post_recv(no_bytes(kBytes), 0, stream), stream);
      one.wait(one.send(no_bytes(kBytes), 0, stream), stream);
    }
    carrier.barrier();
  });
}

TEST(UnmodelledTransport, BringsBytesWhileModelledSendsLeave) {
  // Rank 1 answers, beside the modelled messages, when it has one of them.
  const int world_size = world_sizes().back();
  on_every_rank(world_size, [&](Transport& carrier, device::Stream& host) {
    Departures departures;
    ModelledTransport modelled(
        carrier, std::vector<ModelledLink>(static_cast<std::size_t>(world_size), kLink),
        &departures);
    UnmodelledTransport beside(carrier, departures);
    ModelledStream stream;
    std::int64_t answer = 0;
    const auto bytes = std::as_writable_bytes(std::span(&answer, 1));
    for (const bool watches : {false, true}) {
      if (carrier.rank() == 0) {
        stream.enqueue(10e-3);
        const Request send = modelled.send(no_bytes(kBytes), 1, stream);
        const Request receive = beside.post_recv(bytes, 1, host);
        bool has_come = false;
        const auto looks = [&] {
          has_come = has_come || beside.wait_until(receive, host, Clock::time_point{});
          return has_come;
        };
        if (watches) {
          EXPECT_TRUE(beside.watch_until("answer", 1, looks, Clock::time_point::max()));
        } else {
          EXPECT_FALSE(beside.wait_until(receive, host, Clock::now() + milliseconds(1)));
          beside.wait(receive, host);
        }
        EXPECT_EQ(answer, watches ? 8 : 7);
        modelled.wait(send, stream);
      }
      if (carrier.rank() == 1) {
        modelled.wait(modelled.post_recv(no_bytes(kBytes), 0, stream), stream);
        answer = watches ? 8 : 7;
        beside.wait(beside.send(bytes, 0, host), host);
      }
    }
    carrier.barrier();
  });
}

TEST(ModelledTransport, SizesThatDisagreeAreFound) {
  on_modelled_ranks([](Transport& transport, ModelledStream& stream) {
    if (transport.rank() == 0) transport.wait(transport.send(no_bytes(10), 1, stream), stream);
    if (transport.rank() != 1) return;
    const Request request = transport.post_recv(no_bytes(11), 0, stream);
    try {
      transport.wait(request, stream);
      ADD_FAILURE() << "10 bytes were taken for 11";
    } catch (const InternalError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("with 11 bytes was expected"), std::string::npos) << message;
      EXPECT_NE(message.find("with 10 bytes came"), std::string::npos) << message;
    }
  });
}

TEST(ModelledTransport, RefusesRanksAndRequestsThatAreNone) {
  on_modelled_ranks([](Transport& transport, ModelledStream& stream) {
    EXPECT_THROW(static_cast<void>(transport.send(no_bytes(1), transport.world_size(), stream)),
                 InternalError);
    EXPECT_THROW(static_cast<void>(transport.post_recv(no_bytes(1), -1, stream)), InternalError);
    EXPECT_THROW(transport.wait({5}, stream), InternalError);
  });
}

}  // namespace
}  // namespace halfpipe::transport
