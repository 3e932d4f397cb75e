// SPDX-License-Identifier: Apache-2.0
// Stages that a search chooses: balanced by what they cost, within the limit, the same on all
// ranks.
#include "engine/runtime/planning/choose_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "engine/runtime/planning/job.h"
#include "kernels/core/error.h"
#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/simulate.h"
#include "parallel/transport/local_group.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

/// The head is worth four blocks: 3 x 2 x 24 x 1300 operations per token against 3 x 2 x 12 x 24^2.
config::RunConfig heavy_head_config() {
  config::RunConfig config = small_config("auto", 4);
  config.model.num_layers = 12;
  config.model.vocab_size = 1300;
  config.schedule.memory_limit = "100%";
  config.schedule.search_evaluations = 20000;
  return config;
}

std::vector<int> blocks_of(const std::vector<model::StageLayers>& stage_map) {
  std::vector<int> blocks;
  for (const model::StageLayers& layers : stage_map) blocks.push_back(layers.num_blocks);
  return blocks;
}

TEST(ChooseSchedule, MakesRoomForAHeavyHead) {
  const config::RunConfig config = heavy_head_config();
  const ChosenSchedule chosen = choose_schedule(config);
  const std::vector<int> blocks = blocks_of(chosen.layout.stage_map);
  EXPECT_EQ(std::accumulate(blocks.begin(), blocks.end(), 0), 12);
  const int rank_of_head = chosen.layout.placement.rank_of(static_cast<int>(blocks.size()) - 1);
  int beside_the_head = 0;
  for (std::size_t stage = 0; stage < blocks.size(); ++stage) {
    const bool same = chosen.layout.placement.rank_of(static_cast<int>(stage)) == rank_of_head;
    if (same) beside_the_head += blocks[stage];
  }
  EXPECT_LE(beside_the_head, 1);
  const ScheduleSearch& search = chosen.search.value();
  EXPECT_LE(search.lower_bound, search.stages_bound);
  EXPECT_LE(search.stages_bound, search.cost);
  const schedule::Timeline timeline = schedule::simulate(chosen.orders, chosen.layout.costs);
  EXPECT_EQ(search.cost, config.schedule.objective == "span" ? timeline.span : timeline.makespan);
}

TEST(ChooseSchedule, KeepsTheLayersThatAreGiven) {
  config::RunConfig config = heavy_head_config();
  config.parallel.layers_per_stage = {1, 2, 3, 1, 1, 2, 2, 0};
  const ChosenSchedule chosen = choose_schedule(config);
  EXPECT_EQ(blocks_of(chosen.layout.stage_map), *config.parallel.layers_per_stage);
  // The other placement of as many stages may allow less.
  EXPECT_LE(chosen.search->lower_bound, chosen.search->stages_bound);
  EXPECT_LE(chosen.search->stages_bound, chosen.search->cost);
}

double makespan_of(const ChosenSchedule& chosen) {
  return schedule::simulate(chosen.orders, chosen.layout.costs).makespan;
}

std::vector<std::int64_t> arenas_of(const ChosenSchedule& chosen) {
  std::vector<std::int64_t> arenas;
  for (const schedule::RankPlan& rank :
       schedule::build_plan(chosen.orders, chosen.layout.costs).ranks) {
    arenas.push_back(rank.arena_bytes);
  }
  return arenas;
}

// With hardly any search what remains is what is known without one. Limits are those of arenas, so
// that every one of them just fits a named schedule.
TEST(ChooseSchedule, IsNoWorseThanANamedScheduleThatFits) {
  config::RunConfig config = heavy_head_config();
  config.schedule.search_evaluations = 1;
  std::vector<ChosenSchedule> named;
  for (const std::string_view name : schedule::schedule_names()) {
    config.schedule.name = name;
    config.schedule.exact = true;
    named.push_back(choose_schedule(config));
  }
  config.schedule.name = "auto";
  config.schedule.exact = false;
  for (const ChosenSchedule& limit : named) {
    const std::vector<std::int64_t> most = arenas_of(limit);
    const std::int64_t bytes = *std::max_element(most.begin(), most.end());
    config.schedule.memory_limit = std::to_string(bytes) + " B";
    const ChosenSchedule chosen = choose_schedule(config);
    for (const std::int64_t arena : arenas_of(chosen)) EXPECT_LE(arena, bytes);
    for (const ChosenSchedule& other : named) {
      const std::vector<std::int64_t> arenas = arenas_of(other);
      if (*std::max_element(arenas.begin(), arenas.end()) > bytes) continue;
      EXPECT_LE(makespan_of(chosen), makespan_of(other))
          << other.orders.name << " at the limit of " << limit.orders.name;
    }
  }
}

// Interleaved stages have four blocks on every rank here; those of a V have six or two.
TEST(ChooseSchedule, TakesTheRoundOfGivenStagesWhereItIsBetter) {
  config::RunConfig config = small_config("interleaved", 4);
  config.model.num_layers = 16;
  config.parallel.layers_per_stage = {3, 3, 1, 1, 1, 1, 3, 3};
  const ChosenSchedule named = choose_schedule(config);
  const std::vector<std::int64_t> arenas = arenas_of(named);
  const std::int64_t limit = *std::max_element(arenas.begin(), arenas.end());
  config.schedule.name = "auto";
  config.schedule.memory_limit = std::to_string(limit) + " B";
  for (const std::int64_t evaluations : {1, 2000}) {
    config.schedule.search_evaluations = evaluations;
    const ChosenSchedule chosen = choose_schedule(config);
    EXPECT_EQ(chosen.layout.placement, named.layout.placement);
    EXPECT_LE(makespan_of(chosen), makespan_of(named));
    for (const std::int64_t arena : arenas_of(chosen)) EXPECT_LE(arena, limit);
  }
}

// A rank that may hold half as much gets less to hold; more there than any rank needs changes it
// back.
TEST(ChooseSchedule, KeepsTheLimitOfEachRank) {
  config::RunConfig config = heavy_head_config();
  config.schedule.search_evaluations = 2000;
  const ChosenSchedule alike = choose_schedule(config);
  const std::vector<std::int64_t> limit = alike.search->memory_limit;
  config.schedule.memory_limit.clear();
  config.schedule.rank_memory_limits = {"100%", "50%", "100%", "100%"};
  const ChosenSchedule unlike = choose_schedule(config);
  EXPECT_EQ(unlike.search->memory_limit,
            (std::vector<std::int64_t>{limit[0], limit[1] / 2, limit[2], limit[3]}));
  EXPECT_GT(arenas_of(alike)[1], limit[1] / 2);
  const std::vector<std::int64_t> arenas = arenas_of(unlike);
  for (std::size_t rank = 0; rank < arenas.size(); ++rank) {
    EXPECT_LE(arenas[rank], unlike.search->memory_limit[rank]) << rank;
  }
  EXPECT_GE(makespan_of(unlike), makespan_of(alike));
  config.schedule.rank_memory_limits = {"100%", "100%", "100%", "100%"};
  EXPECT_EQ(choose_schedule(config).orders.ranks, alike.orders.ranks);
}

// With room on one rank alone, layers would all go there.
TEST(ChooseSchedule, SaysThatTheLimitsOfAllRanksAreTooLittle) {
  config::RunConfig config = heavy_head_config();
  config.schedule.memory_limit.clear();
  config.schedule.rank_memory_limits = {"1 B", "2 B", "1 B", "1 B"};
  try {
    (void)choose_schedule(config);
    ADD_FAILURE() << "no rank has memory";
  } catch (const schedule::ScheduleError& error) {
    EXPECT_NE(std::string(error.what())
                  .find("schedule.memory_limit ([1 B, 2 B, 1 B, 1 B]) is too little"),
              std::string::npos)
        << error.what();
  }
}

TEST(ChooseSchedule, SaysThatTheMachinesMemoryIsForResidentsToo) {
  config::RunConfig config = heavy_head_config();
  config.schedule.memory_limit.clear();
  config.model.hidden_size = 24 << 12;  // 116 billion parameters in each of the blocks
  config.model.num_layers = 1000;
  std::string message;
  try {
    (void)choose_schedule(config);
  } catch (const schedule::ScheduleError& error) {
    message = error.what();
  }
  for (const char* part : {"schedule.memory_limit (null: ", "share of this machine's memory",
                           "parameters, gradients, optimizer states and the batch besides "
                           "activations",
                           "of all these per rank"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

TEST(ChooseSchedule, ImprovesNamedOrdersInTheirMemory) {
  for (const char* name : {"1f1b-v", "v-half"}) {
    config::RunConfig config = heavy_head_config();
    config.schedule.name = name;
    config.schedule.memory_limit.clear();
    const ChosenSchedule improved = choose_schedule(config);
    config.schedule.exact = true;
    const ChosenSchedule textbook = choose_schedule(config);
    EXPECT_FALSE(textbook.search);
    EXPECT_EQ(improved.layout.stage_map, textbook.layout.stage_map) << name;
    EXPECT_EQ(improved.orders.name, name);
    EXPECT_LT(makespan_of(improved), makespan_of(textbook)) << name;
    EXPECT_EQ(improved.search->textbook_cost, makespan_of(textbook)) << name;
    const std::vector<std::int64_t> arenas = arenas_of(improved);
    const std::vector<std::int64_t> most = arenas_of(textbook);
    for (std::size_t rank = 0; rank < arenas.size(); ++rank) {
      EXPECT_LE(arenas[rank], most[rank]) << name << " rank " << rank;
    }
  }
}

TEST(ChooseSchedule, NamesTheSmallestLimitThatWouldDo) {
  config::RunConfig config = heavy_head_config();
  config.schedule.memory_limit = "1000 B";
  std::string message;
  try {
    (void)choose_schedule(config);
  } catch (const schedule::ScheduleError& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("schedule.memory_limit (1000 B) is too little"), std::string::npos);
  const std::size_t open = message.find('(', message.find("smallest limit"));
  ASSERT_NE(open, std::string::npos) << message;
  const std::int64_t smallest = std::stoll(message.substr(open + 1));
  config.schedule.memory_limit = std::to_string(smallest) + " B";
  EXPECT_NO_THROW((void)choose_schedule(config)) << message;
  config.schedule.memory_limit = std::to_string(smallest - 1) + " B";
  EXPECT_THROW((void)choose_schedule(config), schedule::ScheduleError);
}

TEST(ChooseSchedule, GivesAllRanksTheStagesThatRankZeroFound) {
  const config::RunConfig config = heavy_head_config();
  const Job expected = make_job(config);
  const auto p = static_cast<std::size_t>(config.parallel.pipeline);
  transport::LocalGroup group(config.parallel.pipeline);
  std::vector<std::optional<Job>> jobs(p);
  {
    std::vector<std::jthread> ranks;
    for (std::size_t rank = 0; rank < p; ++rank) {
      ranks.emplace_back([&, rank] {
        const auto transport = group.make_transport(static_cast<int>(rank));
        transport->set_timeout(60.0);
        jobs[rank] = agree_on_job(config, *transport);
      });
    }
  }
  for (const std::optional<Job>& job : jobs) {
    ASSERT_TRUE(job);
    EXPECT_EQ(job->placement, expected.placement);
    EXPECT_EQ(job->stage_map, expected.stage_map);
    EXPECT_EQ(schedule::hash_of(job->training), schedule::hash_of(expected.training));
  }
}

// One rank has another model: its stages would keep other bytes than the plan says.
TEST(ChooseSchedule, RanksWithDifferentModelsDoNotAgree) {
  const config::RunConfig config = heavy_head_config();
  transport::LocalGroup group(config.parallel.pipeline);
  std::vector<int> refused(static_cast<std::size_t>(config.parallel.pipeline), 0);
  {
    std::vector<std::jthread> ranks;
    for (int rank = 0; rank < config.parallel.pipeline; ++rank) {
      ranks.emplace_back([&, rank] {
        const auto transport = group.make_transport(rank);
        transport->set_timeout(60.0);
        config::RunConfig mine = config;
        if (rank == 2) mine.model.seq_len *= 2;
        try {
          (void)agree_on_job(mine, *transport);
        } catch (const Error&) {
          refused[static_cast<std::size_t>(rank)] = 1;
        }
      });
    }
  }
  EXPECT_EQ(std::count(refused.begin(), refused.end(), 1), config.parallel.pipeline);
}

}  // namespace
}  // namespace halfpipe::runtime
