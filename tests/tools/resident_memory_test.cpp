// SPDX-License-Identifier: Apache-2.0
// What the operating system counts follows the plan: the promise of a schedule is real memory.
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

struct PeakBytes {
  std::vector<double> planned;   // by rank
  std::vector<double> resident;  // by rank
};

class ResidentMemory : public CommandTest {
 protected:
  /// A narrow model and many tokens: activations are nearly all of its memory, and quick to
  /// compute.
  [[nodiscard]] PeakBytes train_under(const std::string& schedule) const {
    const CommandResult result = run_mpi(
        4, train({"model.num_layers=8", "model.num_heads=1", "train.micro_batch_size=1024",
                  "train.global_batch_size=8192", "train.steps=2", "train.evaluate_every=0",
                  "parallel.pipeline=4", "schedule.name=" + schedule, "output.dir=" + schedule}));
    EXPECT_TRUE(succeeded(result));
    std::istringstream lines(read(schedule + "/metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const nlohmann::json record = nlohmann::json::parse(line);
      if (record.at("event") == "end") {
        return {record.at("planned_bytes"), record.at("peak_resident_bytes")};
      }
    }
    ADD_FAILURE() << "no end record";
    return {std::vector<double>(4), std::vector<double>(4)};
  }
};

TEST_F(ResidentMemory, OfVHalfDiffersFromOneFOneBAsPlanned) {
  std::string text;
  for (int i = 0; i < 200000; ++i) text += static_cast<char>('a' + i * i % 23);
  write("text.txt", text);
  const PeakBytes one_f_one_b = train_under("1f1b");
  const PeakBytes v_half = train_under("v-half");
  // The ranks at the ends; 1F1B loads the first most, V-Half all alike.
  for (const std::size_t rank : {0U, 3U}) {
    const double planned = one_f_one_b.planned[rank] - v_half.planned[rank];
    const double resident = one_f_one_b.resident[rank] - v_half.resident[rank];
    EXPECT_GT(std::abs(planned), 30e6) << rank;
    EXPECT_NEAR(resident, planned, 0.1 * std::abs(planned)) << rank;
  }
  EXPECT_GT(one_f_one_b.planned[0], v_half.planned[0]);
}

}  // namespace
}  // namespace halfpipe::tools
