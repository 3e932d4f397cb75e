// SPDX-License-Identifier: Apache-2.0
// `halfpipe schedule` as it searches: within memory limits, for an objective, below textbooks.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/tools/schedule_command_fixture.h"

namespace halfpipe::tools {
namespace {

using nlohmann::json;

/// Without the figures that tell how fast the machine is.
json without_seconds(json schedule) {
  schedule.erase("search_seconds");
  return schedule;
}

TEST_F(ScheduleCommand, SearchesWithinAMemoryLimit) {
  const Arguments arguments = {
      "--name",           "auto", "--ranks",       "3",    "--micro-batches", "6",  "--comm", "0.1",
      "--backward-input", "1.5",  "--evaluations", "2000", "--memory-limit",  "2.5"};
  const json schedule = json_of(arguments);
  expect_valid(schedule);
  EXPECT_EQ(schedule.at("name"), "auto");
  EXPECT_EQ(schedule.at("memory_limit"), 2.5);
  for (const json& units : schedule.at("peak_memory")) EXPECT_LE(units.get<double>(), 2.5);
  EXPECT_LE(schedule.at("lower_bound_span"), schedule.at("span"));
  EXPECT_GT(schedule.at("lower_bound_span"), 6 * 3.5 - 1e-6);
  EXPECT_GT(schedule.at("search_seconds"), 0.0);
  EXPECT_FALSE(schedule.contains("lower_bound_makespan"));
  const std::string text = text_of(arguments);
  EXPECT_NE(text.find("limit 2.50 units per rank\n"), std::string::npos) << text;
  EXPECT_NE(text.find("no schedule on the placements searched below "), std::string::npos) << text;
}

TEST_F(ScheduleCommand, FindsTheSameForTheSameEvaluationsAndSeed) {
  const Arguments arguments = {"--name",        "auto", "--memory-limit", "3.5",
                               "--evaluations", "3000", "--seed",         "18446744073709551615"};
  const json first = json_of(arguments);
  EXPECT_EQ(without_seconds(first), without_seconds(json_of(arguments)));
}

TEST_F(ScheduleCommand, MakesWhatIsAskedSmall) {
  const Arguments arguments = {"--name",        "auto", "--ranks",    "4", "--micro-batches", "8",
                               "--evaluations", "4000", "--objective"};
  const json span = json_of(arguments + Arguments{"span"});
  const json makespan = json_of(arguments + Arguments{"makespan"});
  expect_valid(makespan);
  EXPECT_DOUBLE_EQ(span.at("span"), 24.0);  // no bubble: V-ZB fits
  EXPECT_LE(makespan.at("makespan"), span.at("makespan"));
  EXPECT_NEAR(makespan.at("lower_bound_span"), 24.0, 1e-6);
  EXPECT_GT(makespan.at("lower_bound_makespan"), makespan.at("lower_bound_span"));
  EXPECT_LE(makespan.at("lower_bound_makespan"), makespan.at("makespan"));
  for (const char* objective : {"foo", "0", "1", ""}) {
    EXPECT_TRUE(
        refuses({"--name", "auto", "--objective", objective}, {"--objective", "span", "makespan"}));
  }
  const CommandResult help = run({"schedule", "--help"});
  EXPECT_TRUE(
      std::ranges::none_of(help.out, [](char c) { return c >= 0 && c < ' ' && c != '\n'; }));
}

TEST_F(ScheduleCommand, NamesTheSmallestLimit) {
  const auto with_limit = [](const std::string& limit) {
    return Arguments{"schedule", "--name",         "auto", "--ranks",       "3",  "--micro-batches",
                     "4",        "--memory-limit", limit,  "--evaluations", "100"};
  };
  const CommandResult result = run(with_limit("0.3"));
  ASSERT_TRUE(refused(result, 2, {"--memory-limit (0.3)", "the smallest limit that has one is "}));
  const std::string before = "has one is ";
  const std::size_t at = result.err.find(before) + before.size();
  const std::string limit = result.err.substr(at, result.err.find(' ', at) - at);
  EXPECT_TRUE(succeeded(run(with_limit(limit)))) << limit;
  EXPECT_FALSE(succeeded(run(with_limit(std::to_string(0.99 * std::stod(limit))))));
}

TEST_F(ScheduleCommand, TakesALimitForEachRank) {
  const Arguments arguments = {"--name",          "auto", "--ranks",       "3",
                               "--micro-batches", "6",    "--evaluations", "500",
                               "--memory-limit"};
  const json schedule = json_of(arguments + Arguments{"3,2,1.5"});
  expect_valid(schedule);
  EXPECT_EQ(schedule.at("memory_limit"), json::array({3.0, 2.0, 1.5}));
  EXPECT_LE(schedule.at("peak_memory").at(1), 2.0);
  EXPECT_LE(schedule.at("peak_memory").at(2), 1.5);
  EXPECT_NE(text_of(arguments + Arguments{"3,2,1.5"}).find("limits by rank 3.00 2.00 1.50 units\n"),
            std::string::npos);
  EXPECT_TRUE(refuses(arguments + Arguments{"3,2"}, {"--memory-limit (3,2)", "--ranks (3)"}));
  EXPECT_TRUE(refuses(arguments + Arguments{"3,0.1,3"},
                      {"--memory-limit (3,0.1,3)", "rank 1 needs 1 unit(s)"}));
  for (const char* no_limit : {"", "x", "3,", "3,,3", "3,-1,3", "nan", "0", "1e9"}) {
    EXPECT_TRUE(refuses(arguments + Arguments{no_limit}, {"--memory-limit"})) << no_limit;
  }
}

TEST_F(ScheduleCommand, CountsUnitsOneWay) {
  // Only the last of 8 stages keeps anything, one byte: a quarter of it is a unit on 4 ranks,
  // so each micro-batch there is 4 units. ZB-2P has all 8 of them on the last rank.
  write_stages(8, "", R"(, "forward_to_backward_weight_bytes": 1)");
  const Arguments arguments = {"--stage-costs", "costs.json", "--ranks", "4", "--name"};
  const json searched = json_of(arguments + Arguments{"auto", "--evaluations", "500"});
  EXPECT_EQ(searched.at("memory_limit"), 4.0);
  double most = 0.0;
  for (const json& units : searched.at("peak_memory")) most = std::max(most, units.get<double>());
  EXPECT_EQ(most, 4.0);
  const std::string text = text_of(arguments + Arguments{"zb-2p"});
  EXPECT_NE(text.find("peak units by rank: 0.00 0.00 0.00 32.00\npeak bytes by rank: 0 0 0 8\n"),
            std::string::npos)
      << text;
  EXPECT_NE(line_with(text, "zb-2p  ").find(" 32.00 "), std::string::npos) << text;
  EXPECT_EQ(json_of(arguments + Arguments{"zb-2p"}).at("peak_memory").at(3), 32.0);
}

TEST_F(ScheduleCommand, UnitsCountWhatBackwardKeepsForWeights) {
  write_stages(8, R"(, "backward_input_to_backward_weight_bytes": 10)");
  const Arguments arguments = {"--stage-costs", "costs.json", "--ranks", "4", "--name"};
  EXPECT_EQ(json_of(arguments + Arguments{"1f1b"}).at("peak_memory"),
            json::array({1.0, 1.0, 1.0, 1.0}));
  EXPECT_TRUE(refuses(arguments + Arguments{"auto", "--memory-limit", "0.1"},
                      {"the smallest limit that has one is 0.5 unit(s)"}));
}

TEST_F(ScheduleCommand, BoundsNamedSchedules) {
  const json gpipe = json_of({"--name", "gpipe", "--ranks", "4", "--micro-batches", "8"});
  EXPECT_EQ(gpipe.at("span"), 30.0);
  EXPECT_NEAR(gpipe.at("lower_bound_span"), 24.0, 1e-6);  // its memory is enough for no bubble
  EXPECT_EQ(gpipe.at("search_seconds"), 0.0);
  const std::string text = text_of({"--name", "gpipe", "--ranks", "4", "--micro-batches", "8"});
  EXPECT_NE(text.find("gpipe: span 30.0000, no schedule of this placement within its memory below "
                      "24.0000 "),
            std::string::npos)
      << text;
}

TEST_F(ScheduleCommand, ImprovesTextbookOrdersUnlessTheyAreToBeExact) {
  const Arguments arguments = {"--name", "v-half", "--backward-input", "2", "--comm", "0.1"};
  const json exact = json_of(arguments + Arguments{"--exact"});
  const json better = json_of(arguments + Arguments{"--evaluations", "3000"});
  expect_valid(exact);
  expect_valid(better);
  EXPECT_LT(better.at("span"), exact.at("span"));
  EXPECT_EQ(better.at("textbook_span"), exact.at("span"));
  EXPECT_FALSE(exact.contains("textbook_span"));
  // The improved order needs no more memory, so one bound holds for both.
  EXPECT_LE(better.at("lower_bound_span"), better.at("span"));
  EXPECT_LE(exact.at("lower_bound_span"), better.at("span"));
}

}  // namespace
}  // namespace halfpipe::tools
