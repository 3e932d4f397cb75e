// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/bench_figures.h"

#include <algorithm>

#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/ranks/rank_groups.h"

namespace halfpipe::tools {

namespace {

std::int64_t most(const std::vector<runtime::RankMemory>& ranks,
                  std::int64_t (*bytes)(const runtime::RankMemory&)) {
  std::int64_t result = 0;
  for (const runtime::RankMemory& rank : ranks) result = std::max(result, bytes(rank));
  return result;
}

std::int64_t activations(const runtime::RankMemory& memory) {
  return memory.activations;
}
std::int64_t total(const runtime::RankMemory& memory) {
  return memory.total();
}

}  // namespace

int num_devices(const config::RunConfig& config) {
  return runtime::mesh_of(config.parallel).num_ranks();
}

double planned_exchange_seconds(const BenchedSchedule& benched) {
  return benched.outside.exchange + benched.outside.tied_gradient;
}

BenchFigures figures_of(const BenchedSchedule& benched) {
  const runtime::Job& job = *benched.job;
  const runtime::StepBenchmark& measured = *benched.measured;
  const auto by_time = [](const runtime::MeasuredStep& one, const runtime::MeasuredStep& other) {
    return one.seconds < other.seconds;
  };
  const auto [fastest, slowest] =
      std::minmax_element(measured.steps.begin(), measured.steps.end(), by_time);
  BenchFigures figures{};
  figures.step_seconds = measured.median().seconds;
  figures.fastest_seconds = fastest->seconds;
  figures.slowest_seconds = slowest->seconds;
  figures.throughput =
      runtime::throughput_of(job.config, num_devices(job.config), figures.step_seconds);
  figures.planned_peak_bytes = most(benched.planned_memory, activations);
  figures.measured_peak_bytes = most(measured.memory, activations);
  figures.planned_total_bytes = most(benched.planned_memory, total);
  figures.measured_total_bytes = most(measured.memory, total);
  for (const schedule::RankPlan& rank : job.training.ranks) {
    figures.num_instructions =
        std::max(figures.num_instructions, static_cast<std::int64_t>(rank.instructions.size()));
  }
  figures.host_cpu_seconds = measured.median().host_cpu_seconds;
  if (measured.exposed) {
    figures.exchange = {.exposed = *measured.exposed, .planned = {}, .busiest_adapter = {}};
    if (is_modelled(job.config.device)) {
      figures.exchange->planned = planned_exchange_seconds(benched);
      figures.exchange->busiest_adapter = runtime::busiest_adapter_seconds(job);
    }
  }
  return figures;
}

}  // namespace halfpipe::tools
