// SPDX-License-Identifier: Apache-2.0
// Transport::watch_until, whatever the ranks are: a wait for what the transport does not carry.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "parallel/transport/rank_lost.h"
#include "tests/parallel/transport/transport_ranks.h"

namespace halfpipe::transport {
namespace {

using Clock = std::chrono::steady_clock;

int a_world_size() {
  return world_sizes().back();
}

TEST(WatchUntil, AsksUntilItIsDone) {
  on_every_rank(a_world_size(), [](Transport& transport, device::Stream&) {
    int questions = 0;
    EXPECT_TRUE(transport.watch_until(
        "answer", -1, [&] { return ++questions >= 5; }, Clock::time_point::max()));
    EXPECT_GE(questions, 5);
    transport.barrier();  // nobody leaves while another one watches
  });
}

// Nobody wakes a rank that waits for a device: it has to look by itself, and soon.
TEST(WatchUntil, LooksOften) {
  on_every_rank(a_world_size(), [](Transport& transport, device::Stream&) {
    int questions = 0;
    EXPECT_FALSE(transport.watch_until(
        "answer", -1, [&] { return ++questions < 0; },
        Clock::now() + std::chrono::milliseconds(300)));
    EXPECT_GE(questions, 20);
    transport.barrier();
  });
}

TEST(WatchUntil, ADeadlineThatHasPassedOnlyLooks) {
  on_every_rank(a_world_size(), [](Transport& transport, device::Stream&) {
    EXPECT_FALSE(transport.watch_until(
        "answer", -1, [] { return false; }, Clock::now()));
    EXPECT_TRUE(transport.watch_until(
        "answer", -1, [] { return true; }, Clock::now()));
  });
}

// The sender ends its wait while the receiver asks for nothing but a sign that it has.
TEST(WatchUntil, MovesMessagesOn) {
  if (a_world_size() < 2) return;
  on_every_rank(a_world_size(), [](Transport& transport, device::Stream& stream) {
    std::vector<std::byte> path;
    if (transport.rank() == 0) {
      const std::string name = testing::TempDir() + "watch-until-" + std::to_string(::getpid());
      path.assign(reinterpret_cast<const std::byte*>(name.data()),
                  reinterpret_cast<const std::byte*>(name.data() + name.size()));
    }
    transport.broadcast(path, 0);
    const std::filesystem::path sign(
        std::string(reinterpret_cast<const char*>(path.data()), path.size()));
    std::vector<std::byte> message(std::size_t{1} << 22U);  // too long to be gone at once
    if (transport.rank() == 0) {
      transport.wait(transport.send(message, 1, stream), stream);
      std::ofstream(sign) << "gone";
    } else if (transport.rank() == 1) {
      const Request request = transport.post_recv(message, 0, stream);
      EXPECT_TRUE(transport.watch_until(
          "sign of the sender", 0, [&] { return std::filesystem::exists(sign); },
          Clock::now() + std::chrono::seconds(20)));
      transport.wait(request, stream);
    }
    transport.barrier();
    if (transport.rank() == 0) std::filesystem::remove(sign);
  });
}

TEST(WatchUntil, SaysWhatDidNotCome) {
  if (a_world_size() < 2) return;
  on_every_rank(a_world_size(), [](Transport& transport, device::Stream&) {
    transport.set_timeout(0.3);
    try {
      const int peer = transport.rank() == 0 ? 1 : 0;
      static_cast<void>(transport.watch_until(
          "message on the GPU", peer, [] { return false; }, Clock::time_point::max()));
      ADD_FAILURE() << "the wait ended";
    } catch (const RankLost& lost) {
      EXPECT_NE(std::string(lost.what()).find("message on the GPU"), std::string::npos)
          << lost.what();
    }
  });
}

}  // namespace
}  // namespace halfpipe::transport
