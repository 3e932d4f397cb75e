// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/status_board.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace halfpipe::transport {
namespace {

class StatusBoardTest : public ::testing::Test {
 protected:
  std::vector<std::byte> memory_ = std::vector<std::byte>(StatusBoard::bytes_for(3));
  StatusBoard board_ = StatusBoard::create(memory_, 3);
};

TEST_F(StatusBoardTest, ShowsWhatARankHasPublished) {
  board_.enter(1, 5, {.pid = 77, .start_time = 99});
  board_.publish(1, {.step = 7, .instruction = 12, .text = "forward of micro-batch 3", .peer = 4});
  const RankReport report = StatusBoard::attach(memory_, 3).report(1);
  EXPECT_EQ(report.rank, 5);
  EXPECT_EQ(report.process.pid, 77);
  EXPECT_EQ(report.process.start_time, 99);
  EXPECT_EQ(report.life, Life::kRunning);
  EXPECT_EQ(report.status.step, 7);
  EXPECT_EQ(report.status.instruction, 12);
  EXPECT_EQ(report.status.peer, 4);
  EXPECT_STREQ(report.status.text, "forward of micro-batch 3");
}

TEST_F(StatusBoardTest, EmptySlotsAreAbsentAndLeavingIsSeen) {
  EXPECT_EQ(board_.life(0), Life::kAbsent);
  board_.enter(0, 0, {});
  EXPECT_EQ(board_.life(0), Life::kRunning);
  board_.leave(0, Life::kEnded);
  EXPECT_EQ(board_.life(0), Life::kEnded);
}

TEST_F(StatusBoardTest, ATextWithoutAnEndIsCut) {
  RankStatus status;
  std::memset(status.text, 'x', sizeof(status.text));
  board_.publish(0, status);
  EXPECT_EQ(std::string(board_.report(0).status.text), std::string(sizeof(status.text) - 1, 'x'));
}

TEST_F(StatusBoardTest, PostsOfAllRanksAreCounted) {
  const auto before = board_.num_posts();
  board_.publish(0, {});
  board_.publish(2, {});
  EXPECT_EQ(board_.num_posts(), before + 2);
}

TEST_F(StatusBoardTest, OneRankHasTheLastWord) {
  StatusBoard other = StatusBoard::attach(memory_, 3);
  EXPECT_TRUE(other.claim_last_words());
  EXPECT_FALSE(board_.claim_last_words());
}

}  // namespace
}  // namespace halfpipe::transport
