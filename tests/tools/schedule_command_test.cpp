// SPDX-License-Identifier: Apache-2.0
// The playground of schedules as its users run it.
#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

using nlohmann::json;

class ScheduleCommand : public CommandTest {
 protected:
  /// `halfpipe schedule ARGUMENTS --json -`.
  [[nodiscard]] json json_of(const Arguments& arguments) const {
    const CommandResult result = run(Arguments{"schedule"} + arguments + Arguments{"--json", "-"});
    EXPECT_TRUE(succeeded(result));
    return result.exit_code == 0 ? json::parse(result.out) : json::object();
  }
  /// What is printed.
  [[nodiscard]] std::string text_of(const Arguments& arguments) const {
    const CommandResult result = run(Arguments{"schedule"} + arguments);
    EXPECT_TRUE(succeeded(result));
    return result.out;
  }
  [[nodiscard]] ::testing::AssertionResult refuses(const Arguments& arguments,
                                                   const std::vector<std::string>& parts) const {
    return refused(run(Arguments{"schedule"} + arguments), 2, parts);
  }

  /// A file of equal stages of one second for each pass, all with the keys of `every`, the last one
  /// with those of `last` as well.
  void write_stages(int num_stages, const std::string& every, const std::string& last = "") const {
    const std::string times =
        R"({"forward_seconds": 1, "backward_input_seconds": 1, "backward_weight_seconds": 1)";
    std::string text;
    for (int stage = 0; stage < num_stages; ++stage) {
      text +=
          (stage == 0 ? "" : ", ") + times + every + (stage + 1 == num_stages ? last : "") + "}";
    }
    write("costs.json", "{\"stages\": [" + text + "]}");
  }
};

/// Each pass once, one at a time on a rank, after its inputs: what the validator of the schedules
/// that others make asks, too.
void expect_valid(const json& schedule) {
  struct Time {
    int rank;
    double start;
    double end;
  };
  constexpr double kRounding = 1e-9;
  const int num_micro_batches = schedule.at("m");
  const double comm = schedule.at("comm");
  std::map<std::tuple<std::string, int, int>, Time> times;
  std::map<int, double> free;  // rank -> end of its last pass: rows are in order
  int num_stages = 0;
  for (const json& row : schedule.at("rows")) {
    const Time time{row.at("device"), row.at("start"), row.at("end")};
    EXPECT_LT(time.start, time.end);
    EXPECT_GE(time.start, free[time.rank] - kRounding) << row;
    free[time.rank] = time.end;
    num_stages = std::max(num_stages, row.at("stage").get<int>() + 1);
    times[{row.at("op"), row.at("stage"), row.at("microbatch")}] = time;
  }
  EXPECT_EQ(free.size(), schedule.at("p"));
  EXPECT_EQ(schedule.at("rows").size(), times.size());
  ASSERT_EQ(times.size(), 3U * static_cast<unsigned>(num_stages * num_micro_batches));
  const auto expect_after = [&](const Time& later, const Time& earlier) {
    const double message = later.rank == earlier.rank ? 0.0 : comm;
    EXPECT_GE(later.start, earlier.end + message - kRounding);
  };
  for (int stage = 0; stage < num_stages; ++stage) {
    for (int i = 0; i < num_micro_batches; ++i) {
      const Time forward = times.at({"F", stage, i});
      const Time backward = times.at({"B", stage, i});
      expect_after(backward, forward);
      expect_after(times.at({"W", stage, i}), backward);
      if (stage > 0) expect_after(forward, times.at({"F", stage - 1, i}));
      if (stage + 1 < num_stages) expect_after(backward, times.at({"B", stage + 1, i}));
    }
  }
}

/// Without the figures that tell how fast the machine is.
json without_seconds(json schedule) {
  schedule.erase("search_seconds");
  return schedule;
}

std::string line_with(const std::string& text, const std::string& part) {
  const std::size_t at = text.find(part);
  if (at == std::string::npos) return "";
  const std::size_t begin = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;
  return text.substr(begin, text.find('\n', at) - begin);
}

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
