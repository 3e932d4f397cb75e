// SPDX-License-Identifier: Apache-2.0
// Warm-ups: what they may hold, and that ranks which run theirs, and then either go on or begin
// again, hand over every message as their plan says, with sends that wait for their receives.
#include "parallel/schedule/warm_up.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/catalogue.h"
#include "tests/parallel/schedule/sample_orders.h"

namespace halfpipe::schedule {
namespace {

enum class Ending : std::uint8_t { kGoOn, kBeginAgain };

/// The instructions that a rank runs, in their order.
std::vector<std::size_t> path_of(const RankPlan& program, const WarmUp& warm_up, Ending ending) {
  std::vector<std::size_t> path;
  const std::set<std::size_t> later(warm_up.later_posts.begin(), warm_up.later_posts.end());
  for (std::size_t i = 0; i < warm_up.num_instructions; ++i) {
    if (!later.contains(i)) path.push_back(i);
  }
  const auto append = [&](const std::vector<std::size_t>& indices) {
    path.insert(path.end(), indices.begin(), indices.end());
  };
  if (ending == Ending::kGoOn) {
    append(warm_up.later_posts);
  } else {
    append(warm_up.posts_to_make);
    append(warm_up.receives_to_finish);
    append(warm_up.sends_to_finish);
  }
  const std::size_t next = ending == Ending::kGoOn ? warm_up.num_instructions : 0;
  for (std::size_t i = next; i < program.instructions.size(); ++i) path.push_back(i);
  return path;
}

/// Ranks in lockstep over channels whose k-th send is the k-th receive.
class Channels {
 public:
  explicit Channels(const Plan& plan) : plan_(plan) {}

  /// Runs all paths to their end. Says what went wrong.
  std::string run(const std::vector<std::vector<std::size_t>>& paths) {
    std::vector<std::size_t> next(paths.size(), 0);
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t rank = 0; rank < paths.size(); ++rank) {
        while (next[rank] < paths[rank].size() &&
               step(plan_.ranks[rank].instructions[paths[rank][next[rank]]])) {
          ++next[rank];
          moved = true;
        }
      }
    }
    for (std::size_t rank = 0; rank < paths.size(); ++rank) {
      if (next[rank] < paths[rank].size()) complaint_ += " rank " + std::to_string(rank) + " waits";
    }
    for (const auto& [ranks, channel] : channels_) {
      if (channel.sent != channel.posted) complaint_ += " other messages than were expected";
    }
    return complaint_;
  }

 private:
  struct Channel {
    std::vector<int> sent;
    std::vector<int> posted;
  };
  /// False: it has to wait.
  bool step(const Instruction& instruction) {
    if (instruction.message == kNone) return true;
    const Message& message = plan_.messages[static_cast<std::size_t>(instruction.message)];
    Channel& channel = channels_[{message.src_rank, message.dst_rank}];
    switch (instruction.kind) {
      case OpKind::kPostRecv:
        channel.posted.push_back(instruction.message);
        return true;
      case OpKind::kSend:
        channel.sent.push_back(instruction.message);
        return true;
      case OpKind::kWaitRecv:
        return has_come(channel.posted, channel.sent, instruction.message);
      case OpKind::kWaitSend:
        return has_come(channel.sent, channel.posted, instruction.message);
      default:
        return true;
    }
  }
  /// Whether the other side has come as far as the last `message` of this one.
  bool has_come(const std::vector<int>& mine, const std::vector<int>& theirs, int message) {
    const auto last = std::find(mine.rbegin(), mine.rend(), message);
    if (last == mine.rend()) complaint_ += " waits for a message that it has not begun";
    return static_cast<std::ptrdiff_t>(theirs.size()) >= mine.rend() - last;
  }

  const Plan& plan_;
  std::map<std::pair<int, int>, Channel> channels_;
  std::string complaint_;
};

void expect_sound(const Plan& plan, const std::string& name) {
  const std::vector<WarmUp> all = warm_ups(plan);
  ASSERT_EQ(all.size(), plan.ranks.size());
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    for (std::size_t i = 0; i < all[rank].num_instructions; ++i) {
      const OpKind kind = plan.ranks[rank].instructions[i].kind;
      EXPECT_NE(kind, OpKind::kBackwardInput) << name;
      EXPECT_NE(kind, OpKind::kBackwardWeight) << name;
    }
  }
  for (const Ending ending : {Ending::kGoOn, Ending::kBeginAgain}) {
    std::vector<std::vector<std::size_t>> paths;
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
      paths.push_back(path_of(plan.ranks[rank], all[rank], ending));
    }
    EXPECT_EQ(Channels(plan).run(paths), "")
        << name << (ending == Ending::kGoOn ? ", goes on" : ", begins again");
  }
}

TEST(WarmUps, OfTwoRanksByHand) {
  // Rank 0: post, F, send, wait for the gradient; rank 1: post, wait, F, B.
  const StageOrders orders = one_forward_one_backward(2, 1);
  const std::vector<WarmUp> all = warm_ups(build_plan(orders, even_costs(orders.placement)));
  EXPECT_EQ(all[0].num_instructions, 3U);
  EXPECT_EQ(all[0].later_posts, std::vector<std::size_t>{0});  // of the gradient
  EXPECT_TRUE(all[0].posts_to_make.empty());
  EXPECT_EQ(all[0].sends_to_finish, std::vector<std::size_t>{6});
  EXPECT_EQ(all[1].num_instructions, 3U);
  EXPECT_TRUE(all[1].later_posts.empty());
  EXPECT_TRUE(all[1].receives_to_finish.empty());
}

TEST(WarmUps, HoldTheForwardPassesBeforeTheFirstGradient) {
  constexpr int kRanks = 4;
  const StageOrders orders = one_forward_one_backward(kRanks, 8);
  const Plan plan = build_plan(orders, even_costs(orders.placement));
  const std::vector<WarmUp> all = warm_ups(plan);
  for (int rank = 0; rank < kRanks; ++rank) {
    const auto index = static_cast<std::size_t>(rank);
    const auto& instructions = plan.ranks[index].instructions;
    EXPECT_EQ(std::count_if(
                  instructions.begin(),
                  instructions.begin() + static_cast<std::ptrdiff_t>(all[index].num_instructions),
                  [](const Instruction& one) { return one.kind == OpKind::kForward; }),
              kRanks - rank);
  }
}

TEST(WarmUps, AreNothingInAnEvaluation) {
  const StageOrders orders = one_forward_one_backward(2, 4);
  Plan plan = build_plan(orders, even_costs(orders.placement));
  plan.forward_only = true;
  for (const WarmUp& each : warm_ups(plan)) EXPECT_EQ(each.num_instructions, 0U);
}

TEST(WarmUps, OfEverySchedule) {
  for (const std::string_view name : schedule_names()) {
    for (const int p : {2, 4, 8}) {
      for (const int m : {1, p, 3 * p}) {
        const Placement placement = placement_for(name, p, /*num_chunks=*/2);
        if (name == "interleaved" && m % p != 0) continue;
        const CostModel costs = even_costs(placement);
        const Plan plan = build_plan(make_orders(name, p, m, /*num_chunks=*/2, costs), costs);
        // Receives are posted early: none has to be, into a buffer that is not free yet, when a
        // warm-up is taken back.
        for (const WarmUp& each : warm_ups(plan)) EXPECT_TRUE(each.posts_to_make.empty()) << name;
        expect_sound(plan,
                     std::string(name) + " p " + std::to_string(p) + " m " + std::to_string(m));
      }
    }
  }
}

// Orders that no catalogue has: ranks whose warm-ups depend on each other to and fro.
TEST(WarmUps, OfRandomOrders) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same orders in every run
  for (int trial = 0; trial < 300; ++trial) {
    const int p = 2 + trial % 4;
    const bool is_v = trial % 3 != 0;
    const Placement placement(is_v ? PlacementKind::kV : PlacementKind::kLinear, p, is_v ? 2 : 1);
    const StageOrders orders = random_orders(placement, 1 + trial % 7, random);
    expect_sound(build_plan(orders, random_costs(placement, random)),
                 "trial " + std::to_string(trial));
  }
}

}  // namespace
}  // namespace halfpipe::schedule
