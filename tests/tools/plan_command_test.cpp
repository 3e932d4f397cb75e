// SPDX-License-Identifier: Apache-2.0
// What a job is told before it starts: its plan in figures.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/tools/plan_command_fixture.h"

namespace halfpipe::tools {
namespace {

using nlohmann::json;

// Of run.yaml: micro-batches of 4 sequences of 16 tokens, width 32, 4 blocks, 256 kinds of bytes.
constexpr std::int64_t kMessageBytes = std::int64_t{4} * 16 * 32 * 4;
constexpr double kTokensPerMicroBatch = 4 * 16;
constexpr double kBlockForwardFlops =
    2.0 * kTokensPerMicroBatch * (4.0 * 32 * 32 + 2.0 * 32 * 128)  // products with weights
    + 2.0 * kTokensPerMicroBatch * 16 * 32;                        // causal attention

std::string mebibytes(std::int64_t bytes) {
  std::vector<char> text(32);
  std::snprintf(text.data(), text.size(), "%.2f", static_cast<double>(bytes) / (1 << 20));
  return text.data();
}

// 4 micro-batches on 2 ranks. 1F1B: activations one way, gradients the other. The V: stages 0 and 3
// on rank 0, 1 and 2 on rank 1; activations go 0 -> 1 and, from stage 2 to 3, 1 -> 0, gradients the
// other ways; the hand-over from stage 1 to 2 sends nothing.
TEST_F(PlanCommand, CountsMessagesByLink) {
  const Arguments four = {"train.global_batch_size=16"};
  const auto expected = [](int activations_down, int gradients_down) {
    const std::int64_t bytes = kMessageBytes * (activations_down + gradients_down);
    return json::array({{{"from_rank", 0},
                         {"to_rank", 1},
                         {"activations", activations_down},
                         {"gradients", gradients_down},
                         {"bytes", bytes}},
                        {{"from_rank", 1},
                         {"to_rank", 0},
                         {"activations", gradients_down},
                         {"gradients", activations_down},
                         {"bytes", bytes}}});
  };
  const json classic = plan_json(four + Arguments{"schedule.name=1f1b"}).at("messages");
  EXPECT_EQ(classic.at("links"), expected(4, 0));
  EXPECT_EQ(classic.at("bytes_each"), kMessageBytes);
  EXPECT_EQ(classic.at("count"), 8);
  EXPECT_EQ(classic.at("bytes"), 8 * kMessageBytes);
  EXPECT_EQ(classic.at("tied_gradient_bytes"), 256 * 32 * 4);
  const json v_half = plan_json(four).at("messages");
  EXPECT_EQ(v_half.at("links"), expected(4, 4));
  EXPECT_EQ(v_half.at("count"), 16);
  EXPECT_EQ(v_half.at("tied_gradient_bytes"), 0);
  EXPECT_EQ(plan_json({"parallel.pipeline=1"}).at("messages").at("links"), json::array());
}

TEST_F(PlanCommand, PrintsTheFiguresThatItWrites) {
  const CommandResult result =
      plan({"schedule.name=1f1b"}, {"--flops-per-second", "1e9", "--json", "plan.json"});
  ASSERT_TRUE(succeeded(result));
  const json figures = json::parse(read("plan.json"));
  for (const json& memory : figures.at("memory")) {
    std::vector<std::string> expected{"rank", std::to_string(memory.at("rank").get<int>())};
    for (const char* kind :
         {"parameters", "gradients", "optimizer", "activations", "activations_without_head",
          "activations_arena", "messages", "workspace", "batch", "total"}) {
      expected.push_back(mebibytes(memory.at(kind)));
    }
    const std::size_t table = result.out.find("memory, MiB");
    ASSERT_NE(table, std::string::npos);
    EXPECT_EQ(words_of_line(result.out.substr(table), "rank " + expected[1]), expected);
  }
  const std::vector<std::string> link = words_of_line(result.out, "rank 0   -> ");
  EXPECT_EQ(link, (std::vector<std::string>{"rank", "0", "->", "rank", "1", "8", "activations", "0",
                                            "gradients", mebibytes(8 * kMessageBytes), "MiB"}));
  std::vector<char> seconds(32);
  std::snprintf(seconds.data(), seconds.size(), "%.4g s",
                figures.at("step").at("seconds").get<double>());
  EXPECT_NE(result.out.find(std::string(" at 1 GFLOP/s per rank ") + seconds.data()),
            std::string::npos)
      << result.out;
}

TEST_F(PlanCommand, AccountsForEveryBlockPassAndByte) {
  const json figures = plan_json({"schedule.exact=true"});
  int blocks = 0;
  for (const json& stage : figures.at("stage_map")) {
    EXPECT_EQ(stage.at("first_block"), blocks);
    blocks += stage.at("num_blocks").get<int>();
    EXPECT_EQ(stage.at("embedding"), stage.at("stage") == 0);
    EXPECT_EQ(stage.at("head"), stage.at("stage") == 3);
  }
  EXPECT_EQ(blocks, 4);
  std::map<int, double> busy;  // by rank
  double last_end = 0.0;
  for (const json& row : figures.at("rows")) {
    busy[row.at("device")] += row.at("end").get<double>() - row.at("start").get<double>();
    last_end = std::max(last_end, row.at("end").get<double>());
  }
  EXPECT_EQ(figures.at("rows").size(), 4U * 8U * 3U);
  EXPECT_EQ(figures.at("makespan"), last_end);
  EXPECT_EQ(figures.at("step").at("block_forwards"), last_end);
  EXPECT_EQ(figures.at("step").at("seconds"), nullptr);
  // Rounding of some 50 additions of numbers below 100.
  EXPECT_NEAR(figures.at("bubble_fraction_makespan"), 1.0 - std::max(busy[0], busy[1]) / last_end,
              1e-12);
  for (const json& memory : figures.at("memory")) {
    std::int64_t sum = 0;
    for (const char* kind : {"parameters", "gradients", "optimizer", "activations_arena",
                             "messages", "workspace", "batch"}) {
      sum += memory.at(kind).get<std::int64_t>();
    }
    EXPECT_EQ(memory.at("total"), sum);
  }
  EXPECT_EQ(figures.at("configuration").at("model.num_layers"), "4");
  EXPECT_EQ(figures.at("search"), nullptr);
}

// The head makes the last stage dearer than the others; four ranks have room for better orders.
TEST_F(PlanCommand, ImprovesATextbookOrderInItsMemory) {
  const Arguments job = {"parallel.pipeline=4", "model.num_layers=8", "schedule.name=v-half"};
  const json textbook = plan_json(job + Arguments{"schedule.exact=true"});
  const json improved = plan_json(job + Arguments{"schedule.search_evaluations=20000"});
  EXPECT_EQ(improved.at("name"), "v-half");
  EXPECT_LT(improved.at("makespan"), 0.99 * textbook.at("makespan").get<double>());
  EXPECT_EQ(improved.at("search").at("cost"), improved.at("makespan"));
  EXPECT_EQ(improved.at("search").at("textbook_cost"), textbook.at("makespan"));
  EXPECT_LE(improved.at("search").at("stages_bound"), improved.at("makespan"));
  for (std::size_t rank = 0; rank < 4; ++rank) {
    for (const char* kind : {"activations", "activations_arena"}) {
      EXPECT_LE(improved.at("memory")[rank].at(kind), textbook.at("memory")[rank].at(kind)) << rank;
    }
  }
}

TEST_F(PlanCommand, TurnsOperationsIntoSeconds) {
  const json units = plan_json({});
  const json seconds = plan_json({}, {"--flops-per-second", "2e9"});
  const json& step = seconds.at("step");
  EXPECT_EQ(units.at("time_unit"), "block_forwards");
  EXPECT_EQ(seconds.at("time_unit"), "seconds");
  EXPECT_EQ(step.at("flops_per_block_forward"), kBlockForwardFlops);
  const double per_unit = kBlockForwardFlops / 2e9;
  EXPECT_NEAR(seconds.at("makespan").get<double>() / per_unit, units.at("makespan"), 1e-9);
  EXPECT_EQ(step.at("seconds"), seconds.at("makespan"));
  EXPECT_DOUBLE_EQ(step.at("tokens_per_second"),
                   8 * kTokensPerMicroBatch / step.at("seconds").get<double>());
}

TEST_F(PlanCommand, SaysWhatASearchFound) {
  const Arguments searched = {"schedule.name=auto", "schedule.memory_limit=75%",
                              "schedule.search_evaluations=2000", "parallel.pipeline=4"};
  const CommandResult result = plan(searched, {"--json", "plan.json", "--html", "page.html"});
  ASSERT_TRUE(succeeded(result));
  const json figures = json::parse(read("plan.json"));
  const json& search = figures.at("search");
  ASSERT_EQ(search.at("memory_limit").size(), 4U);
  for (std::size_t rank = 0; rank < 4; ++rank) {
    EXPECT_LE(figures.at("memory").at(rank).at("activations_arena"),
              search.at("memory_limit").at(rank));
  }
  EXPECT_EQ(search.at("objective"), "makespan");
  EXPECT_DOUBLE_EQ(search.at("cost"), figures.at("makespan"));
  EXPECT_LE(search.at("lower_bound").get<double>(), search.at("stages_bound").get<double>());
  EXPECT_LE(search.at("stages_bound").get<double>(), search.at("cost").get<double>());
  const std::string page = read("page.html");
  EXPECT_NE(page.find(std::to_string(search.at("memory_limit").at(0).get<std::int64_t>())),
            std::string::npos);
}

TEST_F(PlanCommand, ShowsTheLimitOfEachRank) {
  const Arguments searched = {"schedule.name=auto", "schedule.search_evaluations=2000",
                              "parallel.pipeline=2"};
  const CommandResult alike = plan(searched + Arguments{"schedule.memory_limit=1 MiB"});
  ASSERT_TRUE(succeeded(alike));
  EXPECT_EQ(words_of_line(alike.out, "limits "), std::vector<std::string>{});
  const Arguments unlike = searched + Arguments{"schedule.memory_limit=[1 MiB, 1.5 MiB]"};
  const CommandResult result = plan(unlike, {"--json", "plan.json"});
  ASSERT_TRUE(succeeded(result));
  EXPECT_EQ(words_of_line(result.out, "limits "),
            (std::vector<std::string>{"limits", "of", "activations", "by", "rank,", "MiB:", "1.00",
                                      "1.50"}));
  EXPECT_NE(result.out.find("memory_limit: [\"1 MiB\", \"1.5 MiB\"]"), std::string::npos);
  const json figures = json::parse(read("plan.json"));
  EXPECT_EQ(figures.at("search").at("memory_limit"), json::array({1 << 20, 3 << 19}));
  EXPECT_EQ(figures.at("configuration").at("schedule.memory_limit"), "[\"1 MiB\", \"1.5 MiB\"]");
  EXPECT_TRUE(refused(plan(searched + Arguments{"schedule.memory_limit=[1 MiB]"}), 2,
                      {"schedule.memory_limit has 1 entries", "parallel.pipeline (2)"}));
}

// Each of them took minutes, or all memory.
TEST_F(PlanCommand, RefusesPlansBeyondReason) {
  for (const Arguments& settings :
       {Arguments{"parallel.pipeline=65536"}, Arguments{"train.global_batch_size=16777216"},
        Arguments{"schedule.name=auto", "parallel.pipeline=65536"},
        Arguments{"schedule.name=interleaved", "schedule.num_chunks=65536"}}) {
    EXPECT_TRUE(refused(plan(settings), 2, {settings.back(), "a plan has at most"}));
  }
}

TEST_F(PlanCommand, WritesPictureAndTrace) {
  const CommandResult result =
      plan({}, {"--svg", "plan.svg", "--trace", "trace.json", "--flops-per-second", "1e9"});
  ASSERT_TRUE(succeeded(result));
  EXPECT_EQ(read("plan.svg").rfind("<svg ", 0), 0U);
  std::size_t passes = 0;
  const json trace = json::parse(read("trace.json"));
  for (const json& event : trace.at("traceEvents")) passes += event.at("ph") == "X" ? 1 : 0;
  EXPECT_EQ(passes, 4U * 8U * 3U);
}

TEST_F(PlanCommand, RefusesOptionsThatWouldDoNothing) {
  const Arguments sweep = {"--sweep-memory"};
  EXPECT_TRUE(refused(plan({}, {"--seconds", "1"}), 2, {"--seconds", "--sweep-memory"}));
  EXPECT_TRUE(refused(plan({}, {"--evaluations", "9"}), 2, {"--evaluations", "--sweep-memory"}));
  for (const Arguments& option : {Arguments{"--html", "a"}, Arguments{"--trace", "a"},
                                  Arguments{"--flops-per-second", "1e9"}}) {
    EXPECT_TRUE(refused(plan({}, sweep + option), 2, {option.front(), "--sweep-memory"}));
  }
  EXPECT_TRUE(refused(plan({}, sweep + Arguments{"--seconds", "1", "--evaluations", "9"}), 2,
                      {"--seconds", "--evaluations"}));
  EXPECT_TRUE(refused(plan({}, sweep + Arguments{"--seconds", "-1"}), 2, {"--seconds", "-1"}));
  EXPECT_TRUE(refused(plan({}, sweep + Arguments{"--evaluations", "0"}), 2, {"--evaluations"}));
  EXPECT_TRUE(refused(plan({}, {"--flops-per-second", "0"}), 2, {"--flops-per-second", "0"}));
  EXPECT_TRUE(refused(plan({}, {"--json", ""}), 2, {"--json"}));
}

TEST_F(PlanCommand, UnwritableFilesGiveOneMessage) {
  for (const char* option : {"--json", "--svg", "--html", "--trace"}) {
    EXPECT_TRUE(refused(plan({}, {option, "absent/file"}), 1, {"absent/file"}));
  }
  for (const char* option : {"--json", "--svg"}) {
    EXPECT_TRUE(refused(plan({}, {"--sweep-memory", "--evaluations", "1", option, "absent/file"}),
                        1, {"absent/file"}));
  }
  EXPECT_TRUE(refused(plan({}, {"--json", "/dev/full"}), 1, {"/dev/full"}));
}

}  // namespace
}  // namespace halfpipe::tools
