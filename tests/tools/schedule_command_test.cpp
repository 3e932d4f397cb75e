// SPDX-License-Identifier: Apache-2.0
// The playground of schedules as its users run it: figures, pictures, files, and what is refused.
// Searches: schedule_search_test.cpp.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tests/tools/schedule_command_fixture.h"

namespace halfpipe::tools {
namespace {

using nlohmann::json;

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
    const json schedule = json::parse(result.out);
    EXPECT_EQ(schedule.at("p"), 3);
    EXPECT_EQ(schedule.at("m"), 7);
    EXPECT_EQ(schedule.at("comm"), 0.1);
    const bool two_chunks = name == "interleaved" || name == "1f1b-v" || name.starts_with("v-");
    const unsigned num_chunks = name == "w4" ? 4 : two_chunks ? 2 : 1;
    std::set<std::tuple<std::string, int, int>> passes;
    double last_end = 0.0;
    for (const json& row : schedule.at("rows")) {
      EXPECT_LT(row.at("start").get<double>(), row.at("end").get<double>());
      last_end = std::max(last_end, row.at("end").get<double>());
      passes.emplace(row.at("op").get<std::string>(), row.at("stage").get<int>(),
                     row.at("microbatch").get<int>());
    }
    EXPECT_EQ(schedule.at("rows").size(), 63U * num_chunks);
    EXPECT_EQ(passes.size(), schedule.at("rows").size());
    EXPECT_DOUBLE_EQ(last_end, schedule.at("makespan"));
    EXPECT_EQ(schedule.at("peak_memory").size(), 3U);
  }
}

TEST_F(ScheduleCommand, StretchesWithTheTimesGiven) {
  const auto span_with = [&](const Arguments& times) {
    const CommandResult result =
        run(Arguments{"schedule", "--name", "1f1b", "--json", "-"} + times);
    EXPECT_TRUE(succeeded(result));
    return json::parse(result.out).at("span").get<double>();
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
  EXPECT_NE(
      result.out.find("\n1f1b: peak units by rank: 8.00 7.00 6.00 5.00 4.00 3.00 2.00 1.00\n"),
      std::string::npos)
      << result.out;
  EXPECT_EQ(read("picture.svg").rfind("<svg ", 0), 0U);
  EXPECT_EQ(json::parse(read("schedule.json")).at("name"), "v-min");
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
  EXPECT_EQ(json::parse(result.out).at("makespan"), 1 + 1 + 4 + 5 + 2.5 + 2 + 3);
  EXPECT_TRUE(refused(run(one + Arguments{"--ranks", "3"}), 2, {"costs.json", "stages", "3"}));
  EXPECT_TRUE(refused(run(one + Arguments{"--comm", "1"}), 2, {"--comm", "--stage-costs"}));
  EXPECT_TRUE(refused(run({"schedule", "--stage-costs", "absent.json"}), 2, {"absent.json"}));
}

TEST_F(ScheduleCommand, RefusesSumsThatDoNotFit) {
  write_stages(8, R"(, "forward_to_backward_weight_bytes": 999999999999999)");
  const Arguments with_file = {"--stage-costs", "costs.json",    "--name",
                               "auto",          "--evaluations", "10"};
  EXPECT_TRUE(refuses(with_file + Arguments{"--micro-batches", "65536"},
                      {"costs.json: stages[0].forward_to_backward_weight_bytes (999999999999999)",
                       "--micro-batches (65536)", "below 2^62"}));
  const json large =
      json_of(with_file + Arguments{"--micro-batches", "32", "--memory-limit", "9e8"});
  expect_valid(large);

  EXPECT_TRUE(refuses({"--forward", "1e9", "--backward-input", "1e-6"},
                      {"--backward-input (1e-06)", "--forward (1000000000)"}));
  EXPECT_TRUE(refuses({"--comm", "1e9", "--backward-weight", "1e-6"},
                      {"--backward-weight (1e-06)", "--comm (1000000000)"}));
  EXPECT_TRUE(refuses({"--forward", "1e-320"}, {"--forward", "1e-100"}));
  expect_valid(json_of({"--name", "1f1b", "--forward", "1e6", "--backward-weight", "1e-3"}));
  write("costs.json", R"({"stages": [
    {"forward_seconds": 1e9, "backward_input_seconds": 1, "backward_weight_seconds": 1},
    {"forward_seconds": 1, "backward_input_seconds": 1, "backward_weight_seconds": 1e-7}]})");
  EXPECT_TRUE(refuses({"--name", "1f1b", "--ranks", "2", "--stage-costs", "costs.json"},
                      {"costs.json: stages[1].backward_weight_seconds (1e-07)",
                       "stages[0].forward_seconds (1000000000)"}));
}

TEST_F(ScheduleCommand, TakesOneRankAndOneMicroBatch) {
  for (const std::string name : {"auto", "1f1b", "v-half", "v-zb", "w4"}) {
    SCOPED_TRACE(name);
    expect_valid(json_of({"--name", name, "--ranks", "1", "--micro-batches", "3"}));
    const json one = json_of({"--name", name, "--ranks", "3", "--micro-batches", "1"});
    expect_valid(one);
    EXPECT_GE(one.at("makespan"), 6.0);  // F and B through 3 ranks
  }
}

TEST_F(ScheduleCommand, KeepsColumnsApart) {
  const std::string large =
      line_with(text_of({"--name", "1f1b", "--forward", "9e11", "--backward-input", "9e11",
                         "--backward-weight", "9e11"}),
                "1f1b  ");
  EXPECT_NE(large.find(" 2.7e+13 "), std::string::npos) << large;
  const std::string small =
      line_with(text_of({"--name", "1f1b", "--forward", "1e-6", "--backward-input", "1e-6",
                         "--backward-weight", "1e-6"}),
                "1f1b  ");
  EXPECT_NE(small.find(" 3e-05 "), std::string::npos) << small;
}

TEST_F(ScheduleCommand, DrawsTimelinesThatFit) {
  const std::string instead = "timeline: too wide or too tall for text; --svg or --html draws it\n";
  EXPECT_EQ(text_of({"--ranks", "8", "--micro-batches", "32"}).find(instead), std::string::npos);
  for (const Arguments& sizes : {Arguments{"--ranks", "65"}, {"--micro-batches", "512"}}) {
    const std::string text = text_of(sizes);
    EXPECT_NE(text.find(instead), std::string::npos);
    EXPECT_EQ(text.find("rank 3 |"), std::string::npos);
  }
}

TEST_F(ScheduleCommand, WritesPagesAndTraces) {
  ASSERT_TRUE(succeeded(run({"schedule", "--compare", "1f1b", "--html", "page.html", "--trace",
                             "trace.json", "--json", "schedule.json"})));
  EXPECT_NE(read("page.html").find("</html>"), std::string::npos);
  EXPECT_FALSE(json::parse(read("trace.json")).at("traceEvents").empty());
  expect_valid(json::parse(read("schedule.json")));
}

TEST_F(ScheduleCommand, TellsWhatCannotBeWritten) {
  ASSERT_TRUE(std::filesystem::exists("/dev/full"));
  EXPECT_TRUE(refused(run({"schedule", "--json", "/dev/full"}), 1, {"/dev/full"}));
  options.output = "/dev/full";
  EXPECT_TRUE(refused(run({"schedule"}), 1, {"standard output"}));
  EXPECT_TRUE(refused(run({"schedule", "--json", "-"}), 1, {"standard output"}));
}

TEST_F(ScheduleCommand, RefusesWhatHasNoSchedule) {
  EXPECT_TRUE(refuses({"--name", "v-hlaf"}, {"--name (v-hlaf)", "did you mean v-half?", "auto, "}));
  EXPECT_TRUE(refuses({"--compare", "1f2b"}, {"--compare (1f2b)", "did you mean 1f1b?"}));
  EXPECT_TRUE(refuses({"--name", ""}, {"--name ()", "auto, "}));
  EXPECT_TRUE(refuses({"--ranks", "0"}, {"--ranks"}));
  EXPECT_TRUE(refuses({"--micro-batches", "x"}, {"--micro-batches"}));
  EXPECT_TRUE(refuses({"--forward", "0"}, {"--forward (0)"}));
  EXPECT_TRUE(refuses({"--forward", "nan"}, {"--forward (nan)"}));
  EXPECT_TRUE(refuses({"--comm", "-1"}, {"--comm (-1)"}));
  const Arguments large = {"--ranks", "1024", "--micro-batches", "65536", "--name"};
  for (const std::string name : {"gpipe", "auto"}) {
    EXPECT_TRUE(refuses(large + Arguments{name},
                        {"--ranks (1024)", "--chunks (1", "--micro-batches (65536)", "16777216"}));
  }
  EXPECT_TRUE(refuses(large + Arguments{"interleaved", "--chunks", "3"}, {"--chunks (3"}));
}

TEST_F(ScheduleCommand, RefusesWhatWouldDoNothing) {
  EXPECT_TRUE(refuses({"--name", "auto", "--evaluations", "5", "--seconds", "1"},
                      {"--evaluations", "--seconds"}));
  EXPECT_TRUE(refuses({"--name", "1f1b", "--chunks", "2"}, {"--chunks", "interleaved"}));
  EXPECT_TRUE(refuses({"--compare", "1f1b,1f1b"}, {"--compare (1f1b)"}));
  EXPECT_TRUE(refuses({"--name", "1f1b", "--compare", "v-min,1f1b"}, {"--compare (1f1b)"}));
  for (const char* seed : {"-1", "18446744073709551616", "1.5", "x"}) {
    EXPECT_TRUE(refuses({"--name", "auto", "--seed", seed}, {"--seed", seed}));
  }
}

TEST_F(ScheduleCommand, RefusesOutputsBeforeItSearches) {
  for (const std::string option : {"--svg", "--html", "--json", "--trace", "--stage-costs"}) {
    EXPECT_TRUE(refuses({option, ""}, {option}));
  }
  // For an hour, were it not for the outputs.
  const Arguments search = {"--name",         "auto", "--micro-batches", "64",
                            "--memory-limit", "2.5",  "--seconds",       "3600"};
  for (const std::string option : {"--svg", "--html", "--json", "--trace"}) {
    EXPECT_TRUE(refused(run(Arguments{"schedule"} + search + Arguments{option, "absent/a"}), 1,
                        {option + " (absent/a)", "no folder absent"}));
    EXPECT_TRUE(refuses(search + Arguments{option, "."}, {option + " (.)", "folder"}));
  }
  EXPECT_TRUE(
      refuses(search + Arguments{"--svg", "a", "--html", "./a"}, {"--svg", "--html (./a)"}));
  EXPECT_TRUE(refuses({"--stage-costs", "a", "--json", "a"}, {"--stage-costs", "--json (a)"}));
  EXPECT_TRUE(refuses(search + Arguments{"--compare", "1f2b"}, {"--compare (1f2b)"}));
}

}  // namespace
}  // namespace halfpipe::tools
