// SPDX-License-Identifier: Apache-2.0
// The playground of schedules as its users run it.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <tuple>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

using ScheduleCommand = CommandTest;

TEST_F(ScheduleCommand, PrintsTheFiguresOfAKnownSchedule) {
  // V-Half on 4 ranks and 8 micro-batches: 3p - 7 = 5 chunk slots beyond the 48 of work
  // (arXiv:2405.15362), and floor((p + 2) / 2) = 3 units.
  const CommandResult result = run({"schedule", "--ranks", "4", "--micro-batches", "8"});
  ASSERT_TRUE(succeeded(result));
  EXPECT_NE(result.out.find("26.5000     26.5000    9.43%"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("peak units by rank: 3.00 3.00 3.00 3.00"), std::string::npos);
  EXPECT_NE(result.out.find("rank 3 |"), std::string::npos);
}

TEST_F(ScheduleCommand, WritesEveryPassOnceAsJson) {
  for (const std::string name : {"gpipe", "1f1b", "1f1b-v", "interleaved", "zb-1p", "zb-2p",
                                 "v-min", "v-half", "v-zb", "w4"}) {
    SCOPED_TRACE(name);
    const CommandResult result =
        run({"schedule", "--name", name, "--ranks", "3", "--micro-batches", "7", "--comm", "0.1",
             "--backward-input", "1.5", "--json", "-"});
    ASSERT_TRUE(succeeded(result));
    const nlohmann::json json = nlohmann::json::parse(result.out);
    EXPECT_EQ(json.at("p"), 3);
    EXPECT_EQ(json.at("m"), 7);
    EXPECT_EQ(json.at("comm"), 0.1);
    const bool two_chunks = name == "interleaved" || name == "1f1b-v" || name.starts_with("v-");
    const unsigned num_chunks = name == "w4" ? 4 : two_chunks ? 2 : 1;
    std::set<std::tuple<std::string, int, int>> passes;
    double last_end = 0.0;
    for (const nlohmann::json& row : json.at("rows")) {
      EXPECT_LT(row.at("start").get<double>(), row.at("end").get<double>());
      last_end = std::max(last_end, row.at("end").get<double>());
      passes.emplace(row.at("op").get<std::string>(), row.at("stage").get<int>(),
                     row.at("microbatch").get<int>());
    }
    EXPECT_EQ(json.at("rows").size(), 63U * num_chunks);
    EXPECT_EQ(passes.size(), json.at("rows").size());
    EXPECT_DOUBLE_EQ(last_end, json.at("makespan"));
    EXPECT_EQ(json.at("peak_memory").size(), 3U);
  }
}

TEST_F(ScheduleCommand, StretchesWithTheTimesGiven) {
  const auto span_with = [&](const Arguments& times) {
    const CommandResult result =
        run(Arguments{"schedule", "--name", "1f1b", "--json", "-"} + times);
    EXPECT_TRUE(succeeded(result));
    return nlohmann::json::parse(result.out).at("span").get<double>();
  };
  const double plain = span_with({});
  EXPECT_GT(span_with({"--forward", "2"}), plain);
  EXPECT_GT(span_with({"--backward-input", "2"}), plain);
  EXPECT_GT(span_with({"--backward-weight", "2"}), plain);
  EXPECT_GT(span_with({"--comm", "0.5"}), plain);
}

TEST_F(ScheduleCommand, ComparesAndDraws) {
  const CommandResult result =
      run({"schedule", "--name", "v-min", "--ranks", "8", "--micro-batches", "32", "--compare",
           "v-half,1f1b", "--svg", "picture.svg", "--json", "schedule.json"});
  ASSERT_TRUE(succeeded(result));
  for (const std::string name : {"v-min", "v-half", "1f1b"}) {
    EXPECT_NE(result.out.find("\n" + name + " "), std::string::npos) << result.out;
  }
  EXPECT_EQ(read("picture.svg").rfind("<svg ", 0), 0U);
  EXPECT_EQ(nlohmann::json::parse(read("schedule.json")).at("name"), "v-min");
}

TEST_F(ScheduleCommand, TakesTheCostsOfAFile) {
  // Two stages on two ranks; one micro-batch: F 1 + 4, B 5 + 2, and W of stage 0 at last. Messages
  // take 0.5 + 100 / 200 = 1 s there and 0.5 + 100 / 50 = 2.5 s back.
  write("costs.json", R"({"stages": [
    {"forward_seconds": 1, "backward_input_seconds": 2, "backward_weight_seconds": 3},
    {"forward_seconds": 4, "backward_input_seconds": 5, "backward_weight_seconds": 6}],
    "message": {"bytes": 100, "latency_seconds": 0.5, "bytes_per_second": 200},
    "links": [{"from_rank": 1, "to_rank": 0, "bytes_per_second": 50}]})");
  const Arguments one = {"schedule", "--name",        "1f1b",      "--micro-batches",
                         "1",        "--stage-costs", "costs.json"};
  const CommandResult result = run(one + Arguments{"--ranks", "2", "--json", "-"});
  ASSERT_TRUE(succeeded(result));
  EXPECT_EQ(nlohmann::json::parse(result.out).at("makespan"), 1 + 1 + 4 + 5 + 2.5 + 2 + 3);
  EXPECT_TRUE(refused(run(one + Arguments{"--ranks", "3"}), 2, {"costs.json", "stages", "3"}));
  EXPECT_TRUE(refused(run(one + Arguments{"--comm", "1"}), 2, {"--comm", "--stage-costs"}));
  EXPECT_TRUE(refused(run({"schedule", "--stage-costs", "absent.json"}), 2, {"absent.json"}));
}

TEST_F(ScheduleCommand, RefusesWhatHasNoSchedule) {
  EXPECT_TRUE(refused(run({"schedule", "--name", "v-hlaf"}), 2, {"v-hlaf", "v-half"}));
  EXPECT_TRUE(refused(run({"schedule", "--compare", "1f2b"}), 2, {"1f2b"}));
  EXPECT_TRUE(refused(run({"schedule", "--ranks", "0"}), 2, {"--ranks"}));
  EXPECT_TRUE(refused(run({"schedule", "--micro-batches", "x"}), 2, {"--micro-batches"}));
  EXPECT_TRUE(refused(run({"schedule", "--forward", "0"}), 2, {"--forward (0)"}));
  EXPECT_TRUE(refused(run({"schedule", "--forward", "nan"}), 2, {"--forward (nan)"}));
  EXPECT_TRUE(refused(run({"schedule", "--comm", "-1"}), 2, {"--comm (-1)"}));
  EXPECT_TRUE(refused(run({"schedule", "--svg", "absent/a.svg"}), 1, {"absent/a.svg"}));
}

}  // namespace
}  // namespace halfpipe::tools
