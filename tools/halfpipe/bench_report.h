// SPDX-License-Identifier: Apache-2.0
// What `halfpipe bench` says of the schedules that it ran: a table, JSON, and a page with their
// timelines.
#pragma once

#include <string>
#include <vector>

#include "tools/halfpipe/benched_schedule.h"
#include "tools/page/timeline_page.h"

namespace halfpipe::tools {

struct BenchReport {
  config::RunConfig config;  // what all schedules have in common
  runtime::BenchmarkSteps steps;
  int num_running_replicas = 1;  // fewer than there are: modelled ones
  std::vector<BenchedSchedule> schedules;
};

/// A row for each schedule; notes say what the columns mean and which schedules did not run.
[[nodiscard]] page::PageTable bench_table(const BenchReport& report);

/// The table, aligned.
[[nodiscard]] std::string bench_text(const BenchReport& report);

/// {"device": {"kind", "name"}, "ranks": of a pipeline, "devices": of the job, "replicas": {"all",
/// "run"}, "micro_batches", "tokens_per_step", "model":
/// {"num_parameters", "flops_per_token"}, "peak_flops_per_second": of a device or null,
/// "warm_up_steps", "ratio_to": the schedule that ratios are to,
/// "schedules":
/// [{"schedule", "problem": null or why it did not run, "tokens_per_second",
/// "tokens_per_second_per_device", "mfu": or null, "ratio", "step_seconds": [by step],
/// "step_seconds_median", "planned": null or {"span", "bubble", "makespan"}, "measured": {"span",
/// "bubble", "makespan"} (of the median step), "peak_activation_bytes": {"planned": [by rank],
/// "measured": [by rank]}, "total_bytes": the same, "instructions": most of any rank,
/// "host_cpu_seconds": most of any rank in the executor, median step, "exchange": null or, where
/// several replicas ran, {"planned": one bucket after another, with the tied gradient,
/// "busiest_adapter", "exposed_gradients", "exposed_parameters": medians, "hidden_share": at
/// least, 1 - exposed / busiest_adapter}, null what only modelled links tell}]}. Seconds and bytes;
/// what was not run has only its first two.
[[nodiscard]] std::string bench_json(const BenchReport& report);

/// The table, then the planned timeline of every schedule, where its costs are seconds, and the
/// measured one under it.
[[nodiscard]] std::string bench_page(const BenchReport& report);

}  // namespace halfpipe::tools
