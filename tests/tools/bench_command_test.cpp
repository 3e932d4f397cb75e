// SPDX-License-Identifier: Apache-2.0
// `halfpipe bench`: its figures agree with one another and with the plan, and what cannot run is
// said, not left out.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tools/browser.h"
#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

using nlohmann::json;

class BenchCommand : public CommandTest {
 protected:
  void SetUp() override {
    // Passes of run.yaml's stages take a millisecond or so there.
    write("toy.yaml", hardware("64 MiB"));
  }
  static std::string hardware(const std::string& memory) {
    return "name: A toy\nmemory: " + memory +
           "\nmemory_rate: {bytes_per_second: 1.0e9, efficiency: 0.5}\n"
           "float32: {flops_per_second: 4.0e9, efficiency: 0.25}\n"
           "bf16: {flops_per_second: 8.0e9, efficiency: 0.25}\n"
           "attention: 1\nop_seconds: 1.0e-6\nproduct_seconds: 0\nranks_per_machine: 8\n"
           "within_machine: {latency_seconds: 1.0e-4, bytes_per_second: 1.0e8, efficiency: 1}\n"
           "between_machines: {latency_seconds: 1.0e-4, bytes_per_second: 1.0e8, efficiency: 1}\n";
  }
  [[nodiscard]] static Arguments bench(const Arguments& settings, const Arguments& more) {
    Arguments arguments{"bench", "run.yaml", "--steps", "3", "--warm-up", "1"};
    for (const std::string& setting : settings) arguments = arguments + Arguments{"--set", setting};
    return arguments + more;
  }
  [[nodiscard]] static Arguments local(int ranks) {
    return {"--local-ranks", std::to_string(ranks)};
  }
};

const Arguments kModelled = {"device.threads_per_rank=null", "device.kind=modelled",
                             "device.hardware=toy.yaml"};

/// What holds for every schedule that was run.
void expect_consistent(const json& report, const json& schedule) {
  SCOPED_TRACE(schedule.at("schedule"));
  ASSERT_TRUE(schedule.at("problem").is_null()) << schedule;
  const auto ranks = report.at("ranks").get<std::size_t>();
  const auto devices = report.at("devices").get<double>();
  const std::vector<double> seconds = schedule.at("step_seconds");
  ASSERT_EQ(seconds.size(), 3U);
  const double median = schedule.at("step_seconds_median");
  EXPECT_LE(std::ranges::min(seconds), median);
  EXPECT_GE(std::ranges::max(seconds), median);
  const double rate = schedule.at("tokens_per_second");
  EXPECT_DOUBLE_EQ(rate * median, report.at("tokens_per_step").get<double>());
  EXPECT_DOUBLE_EQ(schedule.at("tokens_per_second_per_device").get<double>() * devices, rate);
  const json& measured = schedule.at("measured");
  EXPECT_GT(measured.at("span"), 0.0);
  EXPECT_LE(measured.at("span"), median * 1.001);
  EXPECT_LT(measured.at("bubble"), 1.0);
  for (const char* kind : {"peak_activation_bytes", "total_bytes"}) {
    EXPECT_EQ(schedule.at(kind).at("planned").size(), ranks);
    EXPECT_EQ(schedule.at(kind).at("planned"), schedule.at(kind).at("measured")) << kind;
  }
}

TEST_F(BenchCommand, MeasuresTheCpuUnderSeveralSchedules) {
  const CommandResult result =
      run(bench({}, local(2) + Arguments{"--schedules", "v-min,1f1b,auto@90%", "--json", "-"}));
  ASSERT_TRUE(succeeded(result));
  const json report = json::parse(result.out);
  EXPECT_EQ(report.at("device").at("kind"), "cpu");
  EXPECT_EQ(report.at("micro_batches"), 8);
  EXPECT_EQ(report.at("ratio_to"), "1f1b");
  EXPECT_TRUE(report.at("peak_flops_per_second").is_null());
  const json& schedules = report.at("schedules");
  ASSERT_EQ(schedules.size(), 3U);
  for (const json& schedule : schedules) {
    expect_consistent(report, schedule);
    EXPECT_TRUE(schedule.at("planned").is_null());
    EXPECT_TRUE(schedule.at("mfu").is_null());
  }
  EXPECT_EQ(schedules.at(1).at("schedule"), "1f1b");
  EXPECT_EQ(schedules.at(1).at("ratio"), 1.0);
}

TEST_F(BenchCommand, ModelledDevicesTakeAtLeastTheTimeOfThePlan) {
  const CommandResult result =
      run(bench(kModelled, local(2) + Arguments{"--schedules", "1f1b,v-half,v-zb", "--json", "-"}));
  ASSERT_TRUE(succeeded(result));
  const json report = json::parse(result.out);
  EXPECT_EQ(report.at("device").at("name"), "modelled: A toy");
  const double peak = report.at("peak_flops_per_second");
  EXPECT_EQ(peak, 4e9);
  for (const json& schedule : report.at("schedules")) {
    expect_consistent(report, schedule);
    // A nanosecond for each of some hundred operations.
    constexpr double kRounding = 1e-6;
    const double planned = schedule.at("planned").at("span");
    EXPECT_GE(schedule.at("measured").at("span"), planned - kRounding);
    const std::vector<double> seconds = schedule.at("step_seconds");
    for (const double step : seconds) EXPECT_GE(step, planned - kRounding);
    const double flops = report.at("model").at("flops_per_token");
    EXPECT_DOUBLE_EQ(schedule.at("mfu"),
                     schedule.at("tokens_per_second_per_device").get<double>() * flops / peak);
  }
}

TEST_F(BenchCommand, OnePipelineStandsForModelledReplicasAndTensorRanks) {
  // 32 sequences and 8 micro-batches a step for every replica, as in the file without them.
  const Arguments replicated =
      kModelled + Arguments{"parallel.data=4", "train.global_batch_size=128", "parallel.tensor=2",
                            "optimizer.zero_stage=1"};
  const CommandResult result =
      run(bench(replicated, local(2) + Arguments{"--schedules", "1f1b,v-zb", "--json", "-"}));
  ASSERT_TRUE(succeeded(result));
  const json report = json::parse(result.out);
  EXPECT_EQ(report.at("ranks"), 2);
  EXPECT_EQ(report.at("devices"), 16);
  EXPECT_EQ(report.at("micro_batches"), 8);
  EXPECT_EQ(report.at("tokens_per_step"), 128 * 16);
  EXPECT_EQ(report.at("replicas"), json({{"all", 4}, {"run", 1}}));
  for (const json& schedule : report.at("schedules")) {
    expect_consistent(report, schedule);
    EXPECT_TRUE(schedule.at("exchange").is_null());
    const std::string name = schedule.at("schedule");
    Arguments plan{"plan", "run.yaml", "--json", "-", "--set", "schedule.name=" + name};
    for (const std::string& one : replicated) plan = plan + Arguments{"--set", one};
    const CommandResult planned = run(plan);
    ASSERT_TRUE(succeeded(planned));
    const json step = json::parse(planned.out).at("step");
    const double seconds =
        step.at("seconds").get<double>() + step.at("outside_passes").get<double>();
    EXPECT_EQ(step.at("tokens_per_second"), 128 * 16 / seconds);
    // Sleeping ends late, never early. The plan adds up the slowest rank of each kind of work
    // beside the passes, which need not be one rank: a step may take a little less than that.
    const double outside = step.at("outside_passes");
    const std::vector<double> measured = schedule.at("step_seconds");
    for (const double one : measured) EXPECT_GE(one, seconds - 0.1 * outside);
  }
}

TEST_F(BenchCommand, AllReplicasOfModelledDevicesRun) {
  const Arguments replicated =
      kModelled + Arguments{"parallel.data=2", "train.global_batch_size=64", "parallel.tensor=2",
                            "optimizer.zero_stage=1"};
  const Arguments more{"--schedules", "1f1b,v-zb", "--json", "all.json"};
  for (const bool mpi : {false, true}) {
    const CommandResult result =
        mpi ? run_mpi(4, bench(replicated, more)) : run(bench(replicated, local(4) + more));
    ASSERT_TRUE(succeeded(result));
    EXPECT_NE(result.out.find("2 replicas (all run) of 2 pipeline ranks"), std::string::npos)
        << result.out;
    EXPECT_NE(result.out.find("replicas: all 2 ran, and exchanged gradients and parameters"),
              std::string::npos)
        << result.out;
    const json report = json::parse(read("all.json"));
    EXPECT_EQ(report.at("replicas"), json({{"all", 2}, {"run", 2}}));
    EXPECT_EQ(report.at("ranks"), 2);
    EXPECT_EQ(report.at("devices"), 8);
    EXPECT_EQ(report.at("tokens_per_step"), 64 * 16);
    for (const json& schedule : report.at("schedules")) {
      expect_consistent(report, schedule);
      const json& exchange = schedule.at("exchange");
      const double gradients = exchange.at("exposed_gradients");
      const double parameters = exchange.at("exposed_parameters");
      const double adapter = exchange.at("busiest_adapter");
      EXPECT_GT(gradients, 0.0);
      EXPECT_GT(parameters, 0.0);
      EXPECT_LT(adapter, exchange.at("planned"));
      EXPECT_DOUBLE_EQ(exchange.at("hidden_share"),
                       std::max(0.0, 1.0 - (gradients + parameters) / adapter));
    }
  }
}

TEST_F(BenchCommand, AStepThatExchangesForLongerThanTheTimeoutIsNotRun) {
  // Passes and messages of two ranks take milliseconds; each bucket's latency is as long as a step.
  std::string slow = hardware("64 MiB");
  const std::string near = "between_machines: {latency_seconds: 1.0e-4";
  slow.replace(slow.find(near), near.size(), "between_machines: {latency_seconds: 2.0e2");
  slow.replace(slow.find("ranks_per_machine: 8"), 20, "ranks_per_machine: 2");
  write("slow.yaml", slow);
  const CommandResult result = run(bench({"device.threads_per_rank=null", "device.kind=modelled",
                                          "device.hardware=slow.yaml", "parallel.data=2"},
                                         local(2) + Arguments{"--schedules", "1f1b"}));
  EXPECT_TRUE(refused(result, 2, {"a step would take", "debug.timeout_seconds (300)"}));
}

TEST_F(BenchCommand, RunsOnProcesses) {
  const CommandResult result =
      run_mpi(2, bench(kModelled, {"--schedules", "1f1b,v-half", "--json", "-"}));
  ASSERT_TRUE(succeeded(result));
  const json report = json::parse(result.out);
  for (const json& schedule : report.at("schedules")) expect_consistent(report, schedule);
}

TEST_F(BenchCommand, AnotherProfileIsAnotherTime) {
  const auto span = [&](const Arguments& settings) {
    Arguments arguments{"plan", "run.yaml", "--json", "-"};
    for (const std::string& one : settings) arguments = arguments + Arguments{"--set", one};
    const CommandResult result = run(arguments);
    EXPECT_TRUE(succeeded(result));
    return json::parse(result.out).at("span").get<double>();
  };
  std::string slow = hardware("64 MiB");
  slow.replace(slow.find("4.0e9"), 5, "2.0e9");
  write("slow.yaml", slow);
  const double toy = span(kModelled);
  const double half_the_speed =
      span({"device.threads_per_rank=null", "device.kind=modelled", "device.hardware=slow.yaml"});
  EXPECT_GT(half_the_speed, 1.3 * toy);
  EXPECT_LT(half_the_speed, 2.0 * toy);
}

TEST_F(BenchCommand, SaysWhatDidNotRun) {
  write("toy.yaml", hardware("1200 KiB"));
  const Arguments settings = kModelled + Arguments{"parallel.pipeline=4", "model.num_layers=4"};
  const CommandResult result =
      run(bench(settings, local(4) + Arguments{"--schedules", "1f1b,gpipe,v-min,auto@1B"}));
  ASSERT_TRUE(succeeded(result));
  EXPECT_NE(result.out.find("gpipe was not run: does not fit: rank "), std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("auto@1B was not run: "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("smallest limit"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("\nv-min "), std::string::npos) << result.out;
}

TEST_F(BenchCommand, LayersPerStageNeedNotFitTheScheduleOfTheFile) {
  const CommandResult result =
      run(bench({"schedule.name=1f1b", "parallel.layers_per_stage=[1, 1, 1, 1]"},
                local(2) + Arguments{"--schedules", "1f1b,v-half,v-zb"}));
  ASSERT_TRUE(succeeded(result));
  EXPECT_NE(result.out.find("1f1b was not run: "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("\nv-half "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("\nv-zb "), std::string::npos) << result.out;
}

TEST_F(BenchCommand, ThePlanSaysThatAJobDoesNotFit) {
  write("toy.yaml", hardware("100 KiB"));
  const CommandResult result = run(
      {"plan", "run.yaml", "--set", kModelled[0], "--set", kModelled[1], "--set", kModelled[2]});
  ASSERT_TRUE(succeeded(result));
  EXPECT_NE(result.out.find("does not fit: rank "), std::string::npos) << result.out;
}

TEST_F(BenchCommand, RefusesWhatItCannotMean) {
  const auto refuse = [&](const Arguments& settings, const Arguments& more,
                          const std::vector<std::string>& parts) {
    EXPECT_TRUE(refused(run(bench(settings, more)), 2, parts));
  };
  refuse({}, local(2) + Arguments{"--schedules", "1f1b,v-haf"},
         {"--schedules", "v-haf", "did you mean v-half?"});
  refuse({}, local(2) + Arguments{"--schedules", "1f1b,1f1b"}, {"--schedules", "named twice"});
  refuse({}, local(2) + Arguments{"--schedules", "1f1b,"}, {"--schedules"});
  refuse({}, local(2) + Arguments{"--schedules", "v-half@60%"}, {"only auto takes a memory limit"});
  refuse({}, local(2) + Arguments{"--schedules", "auto@much"}, {"auto@much", "60%"});
  refuse({}, local(2) + Arguments{"--schedules", "auto@1B"},
         {"no schedule was run; auto@1B", "smallest limit"});
  refuse({}, local(2) + Arguments{"--json", "same", "--html", "./same"},
         {"--html", "another file"});
  refuse({}, local(2) + Arguments{"--html", "."}, {"--html (.)", "folder"});
  EXPECT_TRUE(refused(run(bench({}, local(2) + Arguments{"--json", "absent/x.json"})), 1,
                      {"--json (absent/x.json)", "no folder"}));
  refuse({"schedule.memory_limit=60%"}, local(2) + Arguments{"--schedules", "1f1b,v-half"},
         {"schedule.memory_limit (", "schedule.name auto", "--schedules has none"});
  refuse({"schedule.num_chunks=3"}, local(2) + Arguments{"--schedules", "1f1b"},
         {"schedule.num_chunks (3)", "interleaved"});
  refuse(kModelled + Arguments{"debug.timeout_seconds=0.001"}, local(2),
         {"no schedule was run", "debug.timeout_seconds (0.001)"});
  refuse({}, local(3), {"parallel.pipeline (2)", "3"});
  refuse(kModelled + Arguments{"parallel.data=2"}, local(3),
         {"parallel.pipeline (2) x parallel.data (2)", "one pipeline of 2 ranks", "all 4 ranks",
          "this job has 3", "mpirun -n 2 or 4"});
  refuse(kModelled, local(4), {"parallel.pipeline (2)", "wants 2 ranks", "this job has 4"});
  refuse({}, local(2) + Arguments{"--steps", "0"}, {"--steps"});
  refuse({"device.kind=modelled", "device.threads_per_rank=null"}, local(2),
         {"device.hardware is missing"});
  EXPECT_TRUE(refused(run(train_local(2, kModelled)), 2,
                      {"device.kind (modelled) computes nothing", "halfpipe bench"}));
  EXPECT_TRUE(refused(run({"plan", "run.yaml", "--set", kModelled[0], "--set", kModelled[1],
                           "--set", kModelled[2], "--flops-per-second", "1e9"}),
                      2, {"--flops-per-second", "device.hardware"}));
}

TEST_F(BenchCommand, ThePageShowsTheTableAndBothTimelines) {
  ASSERT_TRUE(succeeded(run(bench(
      kModelled, local(2) + Arguments{"--schedules", "1f1b,v-half", "--html", "bench.html"}))));
  Browser browser{path(".")};
  const json seen = browser.evaluate(read("bench.html"), R"(
const cells = (row) => [...row.children].map((cell) => cell.textContent);
const panel = timelinePage.panels[1];
const {left, top} = panel.over.getBoundingClientRect();
const row = panel.passRow(0);
const x = panel.axis().x(panel.schedule.ranks[0].start[0] + panel.schedule.ranks[0].duration[0] / 2);
panel.over.dispatchEvent(new PointerEvent('pointermove',
    {clientX: left + x, clientY: top + row.top + row.height / 2, bubbles: true}));
result = {
  head: cells(document.querySelector('thead tr')),
  rows: [...document.querySelectorAll('tbody tr')].map(cells),
  titles: [...document.querySelectorAll('h2')].map((title) => title.textContent),
  hover: document.getElementById('tooltip').innerText,
};)");
  EXPECT_EQ(seen.at("titles"),
            json({"1f1b, planned", "1f1b, measured", "v-half, planned", "v-half, measured"}));
  ASSERT_EQ(seen.at("rows").size(), 2U);
  EXPECT_EQ(seen.at("rows").at(0).at(0), "1f1b");
  EXPECT_EQ(seen.at("rows").at(0).size(), seen.at("head").size());
  EXPECT_EQ(seen.at("head").at(0), "schedule");
  const std::string hover = seen.at("hover");
  EXPECT_NE(hover.find("F (forward) of micro-batch 0"), std::string::npos) << hover;
  EXPECT_NE(hover.find("duration"), std::string::npos) << hover;
  for (const std::string& line : browser.console()) ADD_FAILURE() << "console: " << line;
}

}  // namespace
}  // namespace halfpipe::tools
