// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/schedule_command_fixture.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace halfpipe::tools {

using nlohmann::json;

json ScheduleCommand::json_of(const Arguments& arguments) const {
  const CommandResult result = run(Arguments{"schedule"} + arguments + Arguments{"--json", "-"});
  EXPECT_TRUE(succeeded(result));
  return result.exit_code == 0 ? json::parse(result.out) : json::object();
}

std::string ScheduleCommand::text_of(const Arguments& arguments) const {
  const CommandResult result = run(Arguments{"schedule"} + arguments);
  EXPECT_TRUE(succeeded(result));
  return result.out;
}

::testing::AssertionResult ScheduleCommand::refuses(const Arguments& arguments,
                                                    const std::vector<std::string>& parts) const {
  return refused(run(Arguments{"schedule"} + arguments), 2, parts);
}

void ScheduleCommand::write_stages(int num_stages,
                                   const std::string& every,
                                   const std::string& last) const {
  const std::string times =
      R"({"forward_seconds": 1, "backward_input_seconds": 1, "backward_weight_seconds": 1)";
  std::string text;
  for (int stage = 0; stage < num_stages; ++stage) {
    text += (stage == 0 ? "" : ", ") + times + every + (stage + 1 == num_stages ? last : "") + "}";
  }
  write("costs.json", "{\"stages\": [" + text + "]}");
}

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

std::string line_with(const std::string& text, const std::string& part) {
  const std::size_t at = text.find(part);
  if (at == std::string::npos) return "";
  const std::size_t begin = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;
  return text.substr(begin, text.find('\n', at) - begin);
}

}  // namespace halfpipe::tools
