// SPDX-License-Identifier: Apache-2.0
// What `halfpipe bench` measures: the same job under one schedule after another.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/config/run_config.h"
#include "engine/runtime/planning/job.h"
#include "engine/runtime/planning/outside_passes.h"
#include "engine/runtime/step_benchmark.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::tools {

/// "v-half", "auto", or "auto@LIMIT" with a value of schedule.memory_limit.
struct ScheduleChoice {
  std::string text;
  std::string name;
  std::string memory_limit;  // empty: that of the configuration
};

/// Throws ConfigError naming --schedules for an empty or repeated entry, an unknown name, or a
/// limit that is none.
[[nodiscard]] std::vector<ScheduleChoice> parse_schedule_choices(const std::string& list);

/// The job under another schedule; keys that have no meaning with it are back at their defaults.
[[nodiscard]] config::RunConfig with_schedule(config::RunConfig config,
                                              const ScheduleChoice& choice);

struct BenchedSchedule {
  std::string title;
  std::string problem;  // why it was not run; empty: it was, and the rest is filled
  std::optional<runtime::Job> job;
  std::vector<runtime::RankMemory> planned_memory;  // [rank]
  std::optional<schedule::Timeline> planned;        // in seconds: on modelled devices only
  runtime::OutsidePasses outside;                   // as planned, there only
  std::optional<runtime::StepBenchmark> measured;
};

/// Plans and runs one schedule. A job that cannot be planned, or does not fit a modelled device's
/// memory, is not run: `problem` says why. `transports`: of host memory, or between modelled
/// devices. `tuned`: as benchmark_steps has it. Collective.
[[nodiscard]] BenchedSchedule bench_schedule(const config::RunConfig& config,
                                             const ScheduleChoice& choice,
                                             const runtime::BenchmarkSteps& steps,
                                             const std::optional<checkpoint::TunedRecord>& tuned,
                                             const runtime::TrainerTransports& transports);

}  // namespace halfpipe::tools
