// SPDX-License-Identifier: Apache-2.0
// Files of stage costs: what they mean, and what is said of bad ones.
#include "tools/costs/stage_costs_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "kernels/core/error.h"

namespace halfpipe::costs {
namespace {

namespace fs = std::filesystem;
using schedule::CostModel;
using schedule::Placement;
using schedule::PlacementKind;

class StageCostsFileTest : public ::testing::Test {
 protected:
  StageCostsFileTest() {
    std::string name = (fs::temp_directory_path() / "halfpipe-costs-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    folder_ = name;
  }
  ~StageCostsFileTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  StageCostsFile read(const std::string& text) const {
    const fs::path path = folder_ / "costs.json";
    std::ofstream(path) << text;
    return read_stage_costs(path);
  }

  /// What is said of a bad file, after its name.
  std::string refusal(const std::string& text, int num_ranks = 2) const {
    const std::string name = (folder_ / "costs.json").string() + ": ";
    try {
      (void)costs_for(read(text), Placement(PlacementKind::kLinear, num_ranks, 1));
    } catch (const FileError& error) {
      const std::string message = error.what();
      return message.starts_with(name) ? message.substr(name.size()) : "no file name: " + message;
    }
    return "no exception";
  }

  fs::path folder_;
};

constexpr const char* kStage =
    R"({"forward_seconds": 1, "backward_input_seconds": 1, "backward_weight_seconds": 1})";

std::string two_stages(const std::string& rest = "") {
  return std::string("{\"stages\": [") + kStage + ", " + kStage + "]" + rest + "}";
}

TEST_F(StageCostsFileTest, GivesEachStageItsCosts) {
  const StageCostsFile file = read(R"({"stages": [
    {"forward_seconds": 1.5, "backward_input_seconds": 2, "backward_weight_seconds": 0.5,
     "forward_to_backward_input_bytes": 10, "forward_to_backward_weight_bytes": 20,
     "backward_input_to_backward_weight_bytes": 30},
    {"forward_seconds": 4, "backward_input_seconds": 5, "backward_weight_seconds": 6,
     "forward_to_backward_weight_bytes": 1e6}]})");
  EXPECT_TRUE(file.has_bytes);
  const CostModel costs = costs_for(file, Placement(PlacementKind::kLinear, 2, 1));
  ASSERT_EQ(costs.stages.size(), 2U);
  EXPECT_EQ(costs.stages[0].forward_seconds, 1.5);
  EXPECT_EQ(costs.stages[0].backward_input_seconds, 2.0);
  EXPECT_EQ(costs.stages[0].backward_weight_seconds, 0.5);
  EXPECT_EQ(costs.stages[0].forward_to_backward_input_bytes, 10);
  EXPECT_EQ(costs.stages[0].forward_to_backward_weight_bytes, 20);
  EXPECT_EQ(costs.stages[0].backward_input_to_backward_weight_bytes, 30);
  EXPECT_EQ(costs.stages[1].backward_weight_seconds, 6.0);
  EXPECT_EQ(costs.stages[1].forward_to_backward_input_bytes, 0);
  EXPECT_EQ(costs.stages[1].forward_to_backward_weight_bytes, 1000000);
  EXPECT_EQ(costs.message_seconds_between(0, 1), 0.0);

  // Joined into one stage, as a schedule with half as many sees them.
  const CostModel joined = costs_for(file, Placement(PlacementKind::kLinear, 1, 1));
  ASSERT_EQ(joined.stages.size(), 1U);
  EXPECT_EQ(joined.stages[0].forward_seconds, 5.5);
  EXPECT_EQ(joined.stages[0].backward_input_seconds, 7.0);
  EXPECT_EQ(joined.stages[0].backward_weight_seconds, 6.5);
  EXPECT_EQ(joined.stages[0].forward_to_backward_input_bytes, 10);
  EXPECT_EQ(joined.stages[0].forward_to_backward_weight_bytes, 1000020);
  EXPECT_EQ(joined.stages[0].backward_input_to_backward_weight_bytes, 30);
}

TEST_F(StageCostsFileTest, WithoutBytesAStageCountsOne) {
  const StageCostsFile file = read(two_stages());
  EXPECT_FALSE(file.has_bytes);
  for (const schedule::StageCost& stage : file.stages) {
    EXPECT_EQ(stage.forward_to_backward_weight_bytes, 1);
  }
}

TEST_F(StageCostsFileTest, EqualLinksAreOneFigure) {
  const CostModel costs = costs_for(
      read(two_stages(
          R"(, "message": {"bytes": 100, "latency_seconds": 0.5, "bytes_per_second": 50})")),
      Placement(PlacementKind::kLinear, 2, 1));
  EXPECT_TRUE(costs.links.empty());
  EXPECT_EQ(costs.message_seconds, 2.5);
  EXPECT_EQ(costs.message_bytes, 100);
}

TEST_F(StageCostsFileTest, LinksDifferWhereTheFileSaysSo) {
  const CostModel costs = costs_for(read(two_stages(R"(,
        "message": {"bytes": 100, "latency_seconds": 0.5, "bytes_per_second": 50,
                    "one_at_a_time": true},
        "links": [{"from_rank": 0, "to_rank": 1, "both_ways": true, "bytes_per_second": 10},
                  {"from_rank": 1, "to_rank": 0, "latency_seconds": 0.25}])")),
                                    Placement(PlacementKind::kLinear, 2, 1));
  EXPECT_EQ(costs.message_seconds_between(0, 1), 10.5);
  EXPECT_EQ(costs.occupancy_seconds_between(0, 1), 10.0);
  EXPECT_EQ(costs.message_seconds_between(1, 0), 2.25);  // the last of two
  EXPECT_EQ(costs.occupancy_seconds_between(1, 0), 2.0);
  EXPECT_EQ(costs.message_seconds_between(1, 1), 0.0);
  EXPECT_EQ(costs.message_seconds, 2.25);
}

TEST_F(StageCostsFileTest, RefusesBytesWhoseSumsLeave64Bits) {
  const std::string kept = R"(, "forward_to_backward_input_bytes": 1,
      "backward_input_to_backward_weight_bytes": 900000000000000})";
  const std::string stage(kStage);
  const StageCostsFile file =
      read("{\"stages\": [" + stage + ", " + stage.substr(0, stage.size() - 1) + kept + "]}");
  check_bytes(file, 5124, "steps");  // 4.6116e18
  try {
    check_bytes(file, 5125, "steps");
    FAIL() << "no exception";
  } catch (const FileError& error) {
    EXPECT_EQ(std::string(error.what()),
              file.path.string() +
                  ": stages[1].backward_input_to_backward_weight_bytes (900000000000000): the "
                  "bytes of all stages, 9e+14, times steps (5125) must be below 2^62");
  }
  // Too many stages for a single micro-batch.
  std::string many = stage.substr(0, stage.size() - 1) + kept;
  for (int i = 1; i < 5125; ++i) many += ", " + stage.substr(0, stage.size() - 1) + kept;
  EXPECT_NE(refusal("{\"stages\": [" + many + "]}", 1).find("micro-batches (1) must be below 2^62"),
            std::string::npos);
}

TEST_F(StageCostsFileTest, RefusesMessagesThatTakeForEver) {
  const std::string rule =
      " must let a message of message.bytes (900000000000000) with latency_seconds (0) take less "
      "than 1e+12 seconds, not ";
  EXPECT_EQ(
      refusal(two_stages(R"(, "message": {"bytes": 900000000000000, "bytes_per_second": 1e-300})")),
      "message.bytes_per_second (1e-300)" + rule + "inf");
  EXPECT_EQ(refusal(two_stages(R"(, "message": {"bytes": 9e14},
                "links": [{"from_rank": 0, "to_rank": 1, "bytes_per_second": 1}])")),
            "links[0].bytes_per_second (1)" + rule + "9e+14");
  EXPECT_EQ(refusal(two_stages(R"(, "message": {"bytes": 9e14, "bytes_per_second": 901})")),
            "no exception");
}

TEST_F(StageCostsFileTest, TellsTheKeyAndTheRule) {
  const auto stage_with = [](const std::string& forward, const std::string& rest = "") {
    return std::string("{\"stages\": [") + kStage + ", {\"forward_seconds\": " + forward +
           ", \"backward_input_seconds\": 1, \"backward_weight_seconds\": 1" + rest + "}]}";
  };
  const std::string seconds_rule = " must be a number above 0 and below 1e+12";
  EXPECT_EQ(refusal(stage_with("0")), "stages[1].forward_seconds (0)" + seconds_rule);
  EXPECT_EQ(refusal(stage_with("-1.5")), "stages[1].forward_seconds (-1.5)" + seconds_rule);
  EXPECT_EQ(refusal(stage_with("1e12")),
            "stages[1].forward_seconds (1000000000000.0)" + seconds_rule);
  EXPECT_EQ(refusal(stage_with("\"1\"")), "stages[1].forward_seconds (\"1\")" + seconds_rule);
  EXPECT_EQ(refusal(stage_with("[1]")),
            "stages[1].forward_seconds (a list or object)" + seconds_rule);
  const std::string bytes_rule = " must be a whole number from 0 to below 1e+15";
  const std::string bytes = ", \"forward_to_backward_weight_bytes\": ";
  EXPECT_EQ(refusal(stage_with("1", bytes + "1.5")),
            "stages[1].forward_to_backward_weight_bytes (1.5)" + bytes_rule);
  EXPECT_EQ(refusal(stage_with("1", bytes + "-1")),
            "stages[1].forward_to_backward_weight_bytes (-1)" + bytes_rule);
  EXPECT_EQ(refusal(stage_with("1", ", \"forward\": 1")),
            "stages[1].forward is not a key here; known are forward_seconds, "
            "backward_input_seconds, backward_weight_seconds, forward_to_backward_input_bytes, "
            "forward_to_backward_weight_bytes, backward_input_to_backward_weight_bytes");
  EXPECT_EQ(refusal(R"({"stages": [{"forward_seconds": 1}, 3]})"),
            "stages[0].backward_input_seconds is missing");
  EXPECT_EQ(refusal(std::string("{\"stages\": [") + kStage + ", 3]}"),
            "stages[1] must be an object, {\"key\": value, ...}");
}

TEST_F(StageCostsFileTest, TellsWhatIsWrongWithTheWhole) {
  EXPECT_EQ(refusal("[]"), "the file must be an object, {\"key\": value, ...}");
  EXPECT_EQ(refusal("{}"), "stages is missing");
  EXPECT_EQ(refusal(R"({"stages": {}})"), "stages must be a list, [...]");
  EXPECT_EQ(refusal(R"({"stages": []})"), "stages must have at least one stage");
  EXPECT_EQ(refusal(two_stages(", \"stage\": 1")),
            "stage is not a key here; known are stages, message, links");
  EXPECT_EQ(refusal(two_stages(), 3),
            "stages has 2 entries, which must be a multiple of the schedule's 3 stages (3 ranks "
            "with 1 each)");
  EXPECT_EQ(refusal("{").substr(0, 4), "not ");
  EXPECT_THROW((void)read_stage_costs(folder_ / "absent.json"), FileError);
  EXPECT_THROW((void)read_stage_costs(folder_), FileError);
}

TEST_F(StageCostsFileTest, TellsWhatIsWrongWithLinks) {
  const auto message = [](const std::string& text) { return two_stages(", \"message\": " + text); };
  const auto links = [](const std::string& text) { return two_stages(", \"links\": " + text); };
  EXPECT_EQ(refusal(message(R"({"latency_seconds": -1})")),
            "message.latency_seconds (-1) must be a number of at least 0 and below 1e+12");
  EXPECT_EQ(refusal(message(R"({"bytes_per_second": 0})")).substr(0, 28),
            "message.bytes_per_second (0)");
  EXPECT_EQ(refusal(message(R"({"one_at_a_time": 1})")),
            "message.one_at_a_time (1) must be true or false");
  EXPECT_EQ(refusal(message("7")), "message must be an object, {\"key\": value, ...}");
  EXPECT_EQ(refusal(links("{}")), "links must be a list, [...]");
  EXPECT_EQ(refusal(links(R"([{"from_rank": 0}])")), "links[0].to_rank is missing");
  EXPECT_EQ(refusal(links(R"([{"from_rank": 0, "to_rank": 0}])")),
            "links[0].to_rank must be another rank than from_rank");
  EXPECT_EQ(refusal(links(R"([{"from_rank": 0, "to_rank": 2}])")),
            "links has rank 2, which must be below the number of ranks, 2");
  EXPECT_EQ(refusal(links(R"([{"from_rank": 0.5, "to_rank": 2}])")).substr(0, 24),
            "links[0].from_rank (0.5)");
}

}  // namespace
}  // namespace halfpipe::costs
