// SPDX-License-Identifier: Apache-2.0
// `halfpipe plan --search`: its table, the file of the best layout, and what it refuses.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

using nlohmann::json;

class PlanSearch : public CommandTest {
 protected:
  void SetUp() override {
    write("toy.yaml",
          "name: A toy\nmemory: 64 MiB\n"
          "memory_rate: {bytes_per_second: 1.0e9, efficiency: 0.5}\n"
          "float32: {flops_per_second: 4.0e9, efficiency: 0.25}\n"
          "bf16: {flops_per_second: 8.0e9, efficiency: 0.25}\n"
          "attention: 1\nop_seconds: 1.0e-6\nproduct_seconds: 0\nranks_per_machine: 2\n"
          "within_machine: {latency_seconds: 1.0e-5, bytes_per_second: 1.0e9, efficiency: 1}\n"
          "between_machines: {latency_seconds: 1.0e-4, bytes_per_second: 1.0e8, efficiency: 1}\n");
  }
  /// On modelled devices.
  [[nodiscard]] CommandResult search(const Arguments& more,
                                     const std::string& ranks = "4",
                                     const Arguments& settings = {}) const {
    Arguments arguments{"plan",
                        "run.yaml",
                        "--search",
                        "--ranks",
                        ranks,
                        "--set",
                        "device.threads_per_rank=null",
                        "--set",
                        "device.kind=modelled",
                        "--set",
                        "device.hardware=toy.yaml"};
    for (const std::string& one : settings) arguments = arguments + Arguments{"--set", one};
    return run(arguments + more);
  }
};

TEST_F(PlanSearch, PrintsTheBestAndTheBestOfEverySchedule) {
  const CommandResult result = search({"--top", "2", "--json", "found.json"});
  ASSERT_TRUE(succeeded(result));
  const json found = json::parse(read("found.json"));
  ASSERT_EQ(found.at("best").size(), 2U);
  EXPECT_LE(found.at("best").at(0).at("step_seconds"), found.at("best").at(1).at("step_seconds"));
  EXPECT_EQ(found.at("memory_per_rank"), 64 << 20);
  const std::vector<std::string> lines = lines_of(result.out);
  ASSERT_GT(lines.size(), 4U) << result.out;
  EXPECT_NE(lines[0].find("4 devices (A toy), 0.06 GiB each"), std::string::npos) << lines[0];
  EXPECT_EQ(lines[2].substr(0, 2), "1 ");
  EXPECT_EQ(lines[3].substr(0, 2), "2 ");
  const std::string best = found.at("best").at(0).at("schedule");
  EXPECT_NE(lines[2].find(" " + best), std::string::npos) << lines[2];
  std::size_t stars = 0;
  for (const std::string& line : lines) stars += line.starts_with("* ") ? 1 : 0;
  std::size_t others = 0;
  for (const json& one : found.at("best_of_schedule")) {
    const auto is_shown = [&](const json& shown) {
      return shown.at("schedule") == one.at("schedule");
    };
    others += is_shown(found.at("best").at(0)) || is_shown(found.at("best").at(1)) ? 0 : 1;
  }
  EXPECT_EQ(stars, others);
  EXPECT_GT(others, 0U);
}

TEST_F(PlanSearch, WritesAJobThatPlansAsItSaid) {
  ASSERT_TRUE(succeeded(search({"--output", "best.yaml", "--json", "found.json"})));
  const json best = json::parse(read("found.json")).at("best").at(0);
  const CommandResult result = run({"plan", "best.yaml", "--json", "-"});
  ASSERT_TRUE(succeeded(result));
  const json plan = json::parse(result.out);
  EXPECT_EQ(plan.at("makespan"), best.at("makespan"));
  EXPECT_EQ(plan.at("step").at("tokens_per_second"), best.at("tokens_per_second"));
  const json& configuration = plan.at("configuration");
  EXPECT_EQ(configuration.at("parallel.data"), std::to_string(best.at("data").get<int>()));
  EXPECT_EQ(configuration.at("parallel.pipeline"), std::to_string(best.at("pipeline").get<int>()));
  EXPECT_EQ(configuration.at("parallel.tensor"), std::to_string(best.at("tensor").get<int>()));
  // A key of ranks that share layers.
  const std::string gathers = configuration.value("parallel.gather_again", "true");
  EXPECT_EQ(gathers, best.at("gather_again").dump());
  EXPECT_EQ(configuration.at("optimizer.zero_stage"), best.at("zero_stage").dump());
  EXPECT_EQ(configuration.at("schedule.name"), best.at("schedule"));
  EXPECT_EQ(configuration.at("train.recompute"), best.at("recompute"));
  EXPECT_EQ(configuration.at("train.steps"), "20");  // the rest is the file's
  const json& memory = plan.at("memory").at(best.at("fullest_rank").get<std::size_t>());
  for (const auto& [kind, bytes] : best.at("memory").items()) EXPECT_EQ(memory.at(kind), bytes);
}

TEST_F(PlanSearch, SearchesForAJobOfAnotherDeviceByAProfile) {
  ASSERT_TRUE(succeeded(run({"plan", "run.yaml", "--search", "--ranks", "2", "--hardware",
                             "toy.yaml", "--output", "best.yaml"})));
  EXPECT_NE(read("best.yaml").find("kind: cpu"), std::string::npos);
  EXPECT_TRUE(succeeded(run({"plan", "best.yaml"})));
  EXPECT_TRUE(
      succeeded(run({"train", "best.yaml", "--local-ranks", "2", "--set", "train.steps=1"})));
}

TEST_F(PlanSearch, LessMemoryIsNeverFaster) {
  const json all = json::parse(search({"--json", "-"}).out).at("best").at(0);
  const std::string limit = std::to_string(all.at("memory").at("total").get<int>() - 1) + " B";
  const CommandResult result = search({"--memory-per-rank", limit, "--json", "-"});
  ASSERT_TRUE(succeeded(result));
  const json less = json::parse(result.out);
  EXPECT_GE(less.at("best").at(0).at("step_seconds"), all.at("step_seconds"));
  for (const json& one : less.at("best")) {
    EXPECT_LT(one.at("memory").at("total"), all.at("memory").at("total"));
  }
}

TEST_F(PlanSearch, RefusesWhatItCannotAnswer) {
  const auto refuse = [&](const CommandResult& result, const std::vector<std::string>& parts) {
    EXPECT_TRUE(refused(result, 2, parts));
  };
  refuse(run({"plan", "run.yaml", "--search"}), {"--search", "--ranks"});
  refuse(run({"plan", "run.yaml", "--ranks", "4"}), {"--ranks", "--search"});
  refuse(search({}, "0"), {"--ranks"});
  refuse(search({}, "-4"), {"--ranks"});
  refuse(search({}, "100000"), {"--ranks"});
  refuse(search({}, "37"), {"--ranks (37)", "no layout"});
  refuse(search({"--top", "0"}), {"--top"});
  refuse(search({"--memory-per-rank", "80"}), {"--memory-per-rank (80)", "80GiB"});
  refuse(search({"--memory-per-rank", "60%"}), {"--memory-per-rank (60%)"});
  refuse(search({"--memory-per-rank", "1 KiB"}), {"fits", "the smallest needs", "pipeline"});
  refuse(search({"--hardware", "toy.yaml"}), {"--hardware", "device.hardware"});
  refuse(run({"plan", "run.yaml", "--search", "--ranks", "4"}),
         {"--search", "device.kind cpu", "--hardware"});
  refuse(search({"--output", "run.yaml"}), {"--output (run.yaml)"});
  refuse(search({}, "4", {"parallel.layers_per_stage=[1, 1, 1, 1]"}),
         {"parallel.layers_per_stage", "--search"});
  refuse(search({}, "4", {"train.recompute=[none, none, none, full]"}),
         {"train.recompute", "--search"});
  refuse(search({}, "4", {"schedule.name=auto", "schedule.memory_limit=50%"}),
         {"schedule.memory_limit", "--memory-per-rank"});
  for (const Arguments& other :
       {Arguments{"--sweep-memory"}, Arguments{"--svg", "a.svg"}, Arguments{"--trace", "a.json"}}) {
    refuse(search(other), {"--search", other.front()});
  }
  EXPECT_TRUE(refused(search({"--output", "nowhere/best.yaml"}), 1, {"--output", "nowhere"}));
}

}  // namespace
}  // namespace halfpipe::tools
