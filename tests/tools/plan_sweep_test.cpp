// SPDX-License-Identifier: Apache-2.0
// `halfpipe plan --sweep-memory`: bubble against memory.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tools/plan_command_fixture.h"

namespace halfpipe::tools {
namespace {

using nlohmann::json;

TEST_F(PlanCommand, MoreMemoryIsNeverWorse) {
  const Arguments four_ranks = {"parallel.pipeline=4"};
  const json sweep = plan_json(four_ranks, {"--sweep-memory", "--evaluations", "3000"});
  const json& points = sweep.at("points");
  ASSERT_GE(points.size(), 12U);
  for (std::size_t i = 0; i < points.size(); ++i) {
    const json& point = points.at(i);
    EXPECT_LE(point.at("peak_bytes"), point.at("memory_limit"));
    EXPECT_LE(point.at("lower_bound").get<double>(), point.at("cost").get<double>());
    EXPECT_DOUBLE_EQ(point.at("idle_share").get<double>(),
                     std::max(0.0, 1.0 - sweep.at("work_per_rank").get<double>() /
                                             point.at("cost").get<double>()));
    if (i == 0) continue;
    EXPECT_GT(point.at("memory_limit"), points.at(i - 1).at("memory_limit"));
    EXPECT_LE(point.at("cost").get<double>(), points.at(i - 1).at("cost").get<double>());
    EXPECT_LE(point.at("lower_bound").get<double>(),
              points.at(i - 1).at("lower_bound").get<double>());
  }
  EXPECT_LT(points.back().at("cost").get<double>(), points.front().at("cost").get<double>());
  // 1F1B's memory lies within the row, and named schedules never beat what is known for theirs.
  bool has_1f1b = false;
  for (const json& named : sweep.at("named")) {
    if (named.at("name") == "1f1b") {
      has_1f1b = true;
      EXPECT_GE(points.back().at("memory_limit"), named.at("peak_bytes"));
    }
    for (const json& point : points) {
      if (point.at("memory_limit") < named.at("peak_bytes")) continue;
      EXPECT_LE(point.at("cost").get<double>(), named.at("cost").get<double>()) << named.at("name");
    }
  }
  EXPECT_TRUE(has_1f1b);
}

TEST_F(PlanCommand, SearchesAtTheMemoryOfTheBestNamedSchedules) {
  const json sweep = plan_json({"parallel.pipeline=4"}, {"--sweep-memory", "--evaluations", "1"});
  const auto limit_of = [](const json& point) { return point.at("memory_limit"); };
  std::vector<std::int64_t> limits;
  std::ranges::transform(sweep.at("points"), std::back_inserter(limits), limit_of);
  for (const char* name : {"v-min", "v-zb"}) {
    const auto named = std::ranges::find_if(
        sweep.at("named"), [&](const json& one) { return one.at("name") == name; });
    ASSERT_NE(named, sweep.at("named").end());
    EXPECT_EQ(std::ranges::count(limits, named->at("peak_bytes").get<std::int64_t>()), 1) << name;
  }
}

TEST_F(PlanCommand, NothingFitsBelowTheSmallestLimit) {
  const Arguments searched = {"parallel.pipeline=4", "schedule.name=auto",
                              "schedule.search_seconds=0.01"};
  const json sweep = plan_json(searched, {"--sweep-memory", "--seconds", "0.01"});
  const std::int64_t smallest = sweep.at("points").front().at("memory_limit");
  const auto with_limit = [&](std::int64_t bytes) {
    return plan(searched + Arguments{"schedule.memory_limit=" + std::to_string(bytes) + " B"});
  };
  EXPECT_TRUE(succeeded(with_limit(smallest)));
  EXPECT_TRUE(refused(with_limit(smallest * 98 / 100), 2, {"schedule.memory_limit"}));
}

TEST_F(PlanCommand, TheSameEvaluationsMakeTheSameSweep) {
  const Arguments more = {"--sweep-memory", "--evaluations", "500"};
  json one = plan_json({}, more);
  json other = plan_json({}, more);
  one.erase("search_seconds");
  other.erase("search_seconds");
  EXPECT_EQ(one, other);
}

TEST_F(PlanCommand, PrintsAndDrawsTheSweep) {
  const CommandResult result =
      plan({"schedule.name=auto", "schedule.objective=span"},
           {"--sweep-memory", "--evaluations", "500", "--svg", "sweep.svg", "--json", "s.json"});
  ASSERT_TRUE(succeeded(result));
  const json sweep = json::parse(read("s.json"));
  EXPECT_EQ(sweep.at("objective"), "span");
  const std::size_t names = result.out.find("\nnamed ");
  ASSERT_NE(names, std::string::npos);
  // Above the named ones: two lines of words, the head, a line for each limit.
  const auto lines = std::count(result.out.begin(),
                                result.out.begin() + static_cast<std::ptrdiff_t>(names) + 1, '\n');
  EXPECT_EQ(static_cast<std::size_t>(lines), 3 + sweep.at("points").size());
  const std::string svg = read("sweep.svg");
  EXPECT_EQ(svg.rfind("<svg ", 0), 0U);
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  std::size_t circles = 0;
  for (std::size_t at = svg.find("<circle"); at != std::string::npos;
       at = svg.find("<circle", at + 1)) {
    ++circles;
  }
  EXPECT_EQ(circles, sweep.at("points").size());
  for (const json& named : sweep.at("named")) {
    const std::string name = named.at("name");
    EXPECT_FALSE(words_of_line(result.out, name + " ").empty()) << name;
    // As the label of a point, or among those farther right.
    EXPECT_TRUE(svg.find(">" + name + "<") != std::string::npos ||
                svg.find(" " + name + " ") != std::string::npos)
        << name;
  }
}

// A sweep is for an objective, whatever schedule the job names.
TEST_F(PlanCommand, SweepsForTheSpanBesideANamedSchedule) {
  const Arguments more = {"--sweep-memory", "--evaluations", "300"};
  json of_auto = plan_json({"schedule.name=auto", "schedule.objective=span"}, more);
  of_auto.erase("search_seconds");
  for (const Arguments& name :
       {Arguments{"schedule.name=1f1b"}, Arguments{"schedule.exact=true"}}) {
    json sweep = plan_json(name + Arguments{"schedule.objective=span"}, more);
    sweep.erase("search_seconds");
    EXPECT_EQ(sweep, of_auto) << name.front();
  }
  // The job itself has no objective with it, and a sweep no use for the other keys of a search.
  EXPECT_TRUE(refused(plan({"schedule.name=1f1b", "schedule.objective=span"}), 2,
                      {"schedule.objective (span)"}));
  EXPECT_TRUE(refused(plan({"schedule.name=1f1b", "schedule.search_seconds=2"}, more), 2,
                      {"schedule.search_seconds"}));
}

TEST_F(PlanCommand, SweepsOneRankAndGivenStages) {
  EXPECT_GE(plan_json({"parallel.pipeline=1"}, {"--sweep-memory", "--evaluations", "100"})
                .at("points")
                .size(),
            1U);
  const json given = plan_json({"parallel.layers_per_stage=[2,0,1,1]"},
                               {"--sweep-memory", "--evaluations", "100"});
  for (const json& named : given.at("named")) EXPECT_EQ(named.at("num_chunks"), 2);
  for (const json& point : given.at("points")) EXPECT_EQ(point.at("num_chunks"), 2);
  EXPECT_FALSE(given.at("named").empty());
}

}  // namespace
}  // namespace halfpipe::tools
