// SPDX-License-Identifier: Apache-2.0
#include "engine/trace/run_log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/trace/chrome_trace.h"
#include "kernels/core/error.h"

namespace halfpipe::trace {
namespace {

class RunLogIn : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    dir_ =
        std::filesystem::temp_directory_path() / ("halfpipe-run-log-" + std::string(info->name()));
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  [[nodiscard]] std::vector<std::string> lines_of(const char* name) const {
    std::ifstream in(dir_ / name);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

  std::filesystem::path dir_;
};

StepRecord step(std::int64_t n) {
  return {.step = n,
          .total_steps = 9,
          .loss = 2.5,
          .grad_norm = 1.25,
          .learning_rate = 1e-3,
          .seconds = 0.5,
          .tokens = 64,
          .model_flops = 1e9,
          .bubble_fraction = 0.125,
          .peak_bytes = 1 << 30};
}

TEST_F(RunLogIn, WritesARecordPerEvent) {
  {
    RunLog log(dir_, 0);
    log.train(step(1));
    log.validation(1, 3.5, 100);
    log.checkpoint(1, "here", "abc");
    log.end({1, "abc", {10, 11}, {20, 21}});
  }
  const std::vector<std::string> lines = lines_of("metrics.jsonl");
  ASSERT_EQ(lines.size(), 4U);
  const auto train = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(train["event"], "train");
  EXPECT_EQ(train["step"], 1);
  EXPECT_EQ(train["loss"], 2.5);
  EXPECT_EQ(train["grad_norm"], 1.25);
  EXPECT_EQ(train["lr"], 1e-3);
  EXPECT_EQ(train["tokens_per_second"], 128.0);
  EXPECT_EQ(nlohmann::json::parse(lines[1])["loss"], 3.5);
  const auto end = nlohmann::json::parse(lines[3]);
  EXPECT_EQ(end["parameter_hash"], "abc");
  EXPECT_EQ(end["peak_resident_bytes"], nlohmann::json({20, 21}));
  EXPECT_EQ(lines_of("main.log"),
            (std::vector<std::string>{"s:1 trl:2.500000 lr:1.000000e-03 norm:1.250000",
                                      "s:1 tel:3.500000"}));
}

TEST_F(RunLogIn, CutsWhatComesAfterTheResumedStep) {
  {
    RunLog log(dir_, 0);
    for (std::int64_t n = 1; n <= 5; ++n) log.train(step(n));
    log.validation(4, 3.5, 100);
    log.end({5, "abc", {}, {}});
  }
  // A crash in the middle of a line.
  std::ofstream(dir_ / "metrics.jsonl", std::ios::app) << R"({"event":"train","st)";
  std::ofstream(dir_ / "main.log", std::ios::app) << "s:3";
  {
    RunLog log(dir_, 3);
    log.train(step(4));
  }
  std::vector<std::int64_t> steps;
  for (const std::string& line : lines_of("metrics.jsonl"))
    steps.push_back(nlohmann::json::parse(line)["step"]);
  EXPECT_EQ(steps, (std::vector<std::int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(lines_of("main.log").size(), 4U);
}

TEST_F(RunLogIn, DropsRecordsThatAreNotItsOwn) {
  std::ofstream(dir_ / "metrics.jsonl") << R"({"step":"x","event":"train"})"
                                        << "\n[1]\nno JSON\n{}\n{\"step\":1}\n"
                                        << R"({"event":"validation","step":1})" << '\n';
  { const RunLog log(dir_, 3); }
  EXPECT_EQ(lines_of("metrics.jsonl"),
            (std::vector<std::string>{R"({"event":"validation","step":1})"}));
}

TEST_F(RunLogIn, WritesAPathThatIsNotUtf8) {
  { RunLog(dir_, 0).checkpoint(1, "o\xff/checkpoints", "abc"); }
  ASSERT_EQ(lines_of("metrics.jsonl").size(), 1U);
  EXPECT_EQ(nlohmann::json::parse(lines_of("metrics.jsonl")[0])["path"],
            "o\xef\xbf\xbd/checkpoints");
}

TEST_F(RunLogIn, NamesAPipeOrFolderInThePlaceOfItsFiles) {
  for (const std::string name : {"metrics.jsonl", "main.log"}) {
    for (const auto& make : std::vector<std::function<int(const char*, mode_t)>>{mkfifo, mkdir}) {
      ASSERT_EQ(make((dir_ / name).c_str(), 0700), 0);
      for (const std::int64_t resumed_step : {0, 3}) {
        try {
          const RunLog log(dir_, resumed_step);
          FAIL();
        } catch (const RuntimeFailure& error) {
          EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
        }
      }
      std::filesystem::remove(dir_ / name);
      EXPECT_TRUE(std::filesystem::is_empty(dir_));
    }
  }
}

TEST_F(RunLogIn, StartsAfreshWithoutAResumedStep) {
  { RunLog(dir_, 0).train(step(1)); }
  { RunLog(dir_, 0).train(step(1)); }
  EXPECT_EQ(lines_of("metrics.jsonl").size(), 1U);
}

TEST_F(RunLogIn, NamesTheFileThatCannotBeOpened) {
  try {
    RunLog log(dir_ / "missing", 0);
    FAIL();
  } catch (const RuntimeFailure& error) {
    EXPECT_NE(std::string(error.what()).find("metrics.jsonl"), std::string::npos) << error.what();
  }
}

TEST(StepLine, HasTheShapeOfLlmC) {
  EXPECT_EQ(step_line(step(3)),
            "step 3/9 | loss 2.500000 | norm   1.2500 | lr 1.00e-03 |   500.0 ms |    128 tok/s |  "
            " 2.0 GFLOP/s | "
            "bubble 12.5% | peak 1.000 GiB");
}

TEST_F(RunLogIn, ChromeTraceHasOneTrackPerRank) {
  const std::filesystem::path path = dir_ / "trace.json";
  write_chrome_trace(path, {{{"forward 0", "forward", 0, 0, 0.5, 0.75}},
                            {{"send", "communication", -1, -1, 1.0, 2.0}}});
  std::ifstream in(path);
  const auto events = nlohmann::json::parse(in)["traceEvents"];
  ASSERT_EQ(events.size(), 4U);  // a name and a bar for each
  EXPECT_EQ(events[1]["tid"], 0);
  EXPECT_EQ(events[1]["ts"], 500000.0);
  EXPECT_EQ(events[1]["dur"], 250000.0);
  EXPECT_EQ(events[3]["tid"], 1);
  EXPECT_THROW(write_chrome_trace(dir_ / "missing" / "trace.json", {}), RuntimeFailure);
}

}  // namespace
}  // namespace halfpipe::trace
