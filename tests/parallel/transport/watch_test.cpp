// SPDX-License-Identifier: Apache-2.0
// The watch and the process states that it reads, on real processes.
#include "parallel/transport/watch.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>
#include <vector>

namespace halfpipe::transport {
namespace {

using std::chrono::milliseconds;

/// A child that sleeps until it is killed; collected by the destructor, so that it can be a zombie
/// before.
class Child {
 public:
  Child() : pid_(::fork()) {
    if (pid_ != 0) return;
    for (;;) ::pause();
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    collect();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  [[nodiscard]] ProcessIdentity identity() const {
    // Field 22 of /proc/[pid]/stat is the clock tick of the fork; state_of() accepts no other.
    ProcessIdentity identity{.pid = pid_};
    for (std::int64_t tick = this_process().start_time;; ++tick) {
      identity.start_time = tick;
      if (state_of(identity) != ProcessState::kDead) return identity;
    }
  }
  void signal(int number) const {
    ::kill(pid_, number);
    std::this_thread::sleep_for(milliseconds(50));
  }
  void collect() {
    if (!collected_) ::waitpid(pid_, nullptr, 0);
    collected_ = true;
  }

 private:
  pid_t pid_;
  bool collected_ = false;
};

TEST(ProcessState, FollowsTheLifeOfAProcess) {
  Child child;
  const ProcessIdentity identity = child.identity();
  EXPECT_EQ(state_of(identity), ProcessState::kAlive);
  child.signal(SIGSTOP);
  EXPECT_EQ(state_of(identity), ProcessState::kStopped);
  child.signal(SIGCONT);
  EXPECT_EQ(state_of(identity), ProcessState::kAlive);
  child.signal(SIGKILL);
  EXPECT_EQ(state_of(identity), ProcessState::kDead) << "a zombie";
  child.collect();
  EXPECT_EQ(state_of(identity), ProcessState::kDead) << "gone";
}

TEST(ProcessState, ANewProcessWithTheSameIdIsAnotherOne) {
  ProcessIdentity self = this_process();
  EXPECT_EQ(state_of(self), ProcessState::kAlive);
  self.start_time -= 1;
  EXPECT_EQ(state_of(self), ProcessState::kDead);
}

class Watch : public ::testing::Test {
 protected:
  Watch() {
    for (int rank = 0; rank < 3; ++rank) board_.enter(rank, rank, this_process());
  }
  std::vector<std::byte> memory_ = std::vector<std::byte>(StatusBoard::bytes_for(3));
  StatusBoard board_ = StatusBoard::create(memory_, 3);
};

TEST_F(Watch, FindsADeadRankUnlessItSaidGoodbye) {
  Child child;
  board_.enter(1, 1, child.identity());
  board_.publish(1, {.step = 7, .instruction = 3, .text = "forward of micro-batch 3"});
  const DeathWatch watch(board_);
  EXPECT_EQ(watch.find_dead(), std::nullopt);
  child.signal(SIGKILL);
  EXPECT_EQ(watch.find_dead(), 1);
  const std::string message = death_message(board_, 1, 3);
  EXPECT_NE(message.find("rank 1/3 (pid "), std::string::npos) << message;
  EXPECT_NE(message.find("has died at step 7, instruction 3: forward of micro-batch 3"),
            std::string::npos)
      << message;
  board_.leave(1, Life::kEnded);
  EXPECT_EQ(watch.find_dead(), std::nullopt);
}

TEST_F(Watch, LeavesOutProcessesThatItCannotSee) {
  board_.enter(2, 2, {.pid = this_process().pid, .start_time = 1});
  EXPECT_EQ(DeathWatch(board_).find_dead(), std::nullopt);
}

TEST_F(Watch, AStalledWaitCountsOnlyTimeInWhichNothingMoves) {
  StallClock clock(board_, 0.1);
  for (int i = 0; i < 8; ++i) {
    std::this_thread::sleep_for(milliseconds(20));
    board_.publish(2, {});
    EXPECT_FALSE(clock.stalled());
  }
  std::this_thread::sleep_for(milliseconds(110));
  EXPECT_TRUE(clock.stalled());
}

TEST_F(Watch, ALongGapIsNotTakenForWaiting) {
  StallClock clock(board_, 0.6);
  std::this_thread::sleep_for(milliseconds(700));  // as if the whole job had been suspended
  EXPECT_FALSE(clock.stalled());
}

TEST_F(Watch, ATimeoutOfZeroNeverStalls) {
  StallClock clock(board_, 0.0);
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_FALSE(clock.stalled());
}

TEST_F(Watch, ThePeerOfARankIsNamedWhenItHasOne) {
  board_.publish(1, {.step = 2, .instruction = 8, .text = "wait_recv", .peer = 2});
  board_.publish(2, {.step = 2, .instruction = 5, .text = "forward"});
  EXPECT_TRUE(describe(board_.report(1), 3).ends_with("instruction 8: wait_recv, peer rank 2"));
  EXPECT_TRUE(describe(board_.report(2), 3).ends_with("instruction 5: forward"));
  EXPECT_NE(death_message(board_, 1, 3).find("wait_recv, peer rank 2; ending"), std::string::npos);
}

TEST_F(Watch, TheBlameFollowsTheChainOfWaits) {
  board_.publish(0, {.step = 2, .instruction = 9, .text = "wait_recv from rank 1", .peer = 1});
  board_.publish(1, {.step = 2, .instruction = 8, .text = "wait_recv from rank 2", .peer = 2});
  board_.publish(2, {.step = 2, .instruction = 5, .text = "backward_weight of micro-batch 0"});
  const WaitSubject subject{.rank = 0, .world_size = 3, .peer = 1, .what = "receive"};
  const std::string message = stall_message(board_, subject, 5.0);
  EXPECT_EQ(message.find("rank 0/3 waited 5.0 s for rank 1 (receive), at step 2, instruction 9: "
                         "wait_recv from rank 1; rank 2/3 (pid "),
            0U)
      << message;
}

TEST_F(Watch, TheBlameGoesToAStoppedRank) {
  Child child;
  board_.enter(1, 1, child.identity());
  child.signal(SIGSTOP);
  const WaitSubject subject{.rank = 0, .world_size = 3, .peer = 2, .what = "receive"};
  const std::string message = stall_message(board_, subject, 5.0);
  EXPECT_NE(message.find("starting; rank 1/3 (pid "), std::string::npos) << message;
  EXPECT_NE(message.find("is stopped (state T)"), std::string::npos) << message;
}

}  // namespace
}  // namespace halfpipe::transport
