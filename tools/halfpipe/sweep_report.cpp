// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/sweep_report.h"

#include <fmt/format.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/runtime/planning/stage_costs.h"
#include "tools/halfpipe/schedule_json.h"

namespace halfpipe::tools {

namespace {

using Json = nlohmann::ordered_json;

constexpr double kMebibyte = 1024.0 * 1024.0;

double mebibytes(std::int64_t bytes) {
  return static_cast<double>(bytes) / kMebibyte;
}

std::string cost_text(const MemorySweep& sweep, double cost) {
  return runtime::costs_are_seconds(sweep.config) ? fmt::format("{:.4g}", cost)
                                                  : fmt::format("{:.2f}", cost);
}

/// The columns that found and named schedules share.
std::string schedule_columns(const MemorySweep& sweep, const SweptSchedule& schedule) {
  return fmt::format("{:>10}{:>7.2f}%{:>9.2f}%{:>8.2f}%", cost_text(sweep, schedule.cost),
                     100.0 * sweep.idle_share(schedule.cost),
                     100.0 * schedule.bubble_fraction_makespan, 100.0 * schedule.bubble_fraction);
}

std::string stages_text(const schedule::Placement& placement) {
  return fmt::format("{}, {} per rank", layout_of(placement.kind()), placement.num_chunks());
}

Json schedule_json_of(const MemorySweep& sweep, const SweptSchedule& schedule) {
  return {{"name", schedule.name},
          {"layout", layout_of(schedule.placement.kind())},
          {"num_chunks", schedule.placement.num_chunks()},
          {"peak_bytes", schedule.peak_bytes},
          {"cost", schedule.cost},
          {"idle_share", sweep.idle_share(schedule.cost)},
          {"bubble_fraction", schedule.bubble_fraction},
          {"bubble_fraction_makespan", schedule.bubble_fraction_makespan}};
}

}  // namespace

std::string sweep_table(const MemorySweep& sweep) {
  const config::RunConfig& config = sweep.config;
  std::string text = fmt::format(
      "{} pipeline ranks, {} micro-batches of {} sequences; {} limits in {:.1f} s; times {}\n"
      "idle: share of all ranks' time by {}, bubble and imbalance, and what it is at least; "
      "bubble: of the busiest rank\n"
      "{:<12}{:>11}{:>8}{:>10}{:>8}{:>10}{:>9}{:>12}  {}\n",
      config.parallel.pipeline, config.num_micro_batches(), config.train.micro_batch_size,
      sweep.points.size(), sweep.search_seconds,
      runtime::costs_are_seconds(config) ? "in seconds, those of the hardware profile"
                                         : "in forward passes of a block, modelled, messages free",
      config.schedule.objective, "best", "limit MiB", "units", config.schedule.objective, "idle",
      "bubble", "by span", "at least", "stages");
  for (const SweepPoint& point : sweep.points) {
    text += fmt::format(
        "{:<12}{:>11.3f}{:>8.2f}{}{:>11.2f}%  {}\n", point.schedule.name,
        mebibytes(point.memory_limit), static_cast<double>(point.memory_limit) / sweep.unit_bytes,
        schedule_columns(sweep, point.schedule), 100.0 * sweep.idle_share(point.lower_bound),
        stages_text(point.schedule.placement));
  }
  text += fmt::format("{:<12}{:>11}\n", "named", "takes MiB");
  for (const SweptSchedule& named : sweep.named) {
    text += fmt::format("{:<12}{:>11.3f}{:>8.2f}{}{:>12}  {}\n", named.name,
                        mebibytes(named.peak_bytes),
                        static_cast<double>(named.peak_bytes) / sweep.unit_bytes,
                        schedule_columns(sweep, named), "", stages_text(named.placement));
  }
  return text;
}

std::string sweep_json(const MemorySweep& sweep) {
  Json points = Json::array();
  for (const SweepPoint& point : sweep.points) {
    Json entry = {{"memory_limit", point.memory_limit},
                  {"units", static_cast<double>(point.memory_limit) / sweep.unit_bytes},
                  {"lower_bound", point.lower_bound},
                  {"lower_bound_idle_share", sweep.idle_share(point.lower_bound)}};
    entry.update(schedule_json_of(sweep, point.schedule));
    points.push_back(std::move(entry));
  }
  Json named = Json::array();
  for (const SweptSchedule& schedule : sweep.named) {
    named.push_back(schedule_json_of(sweep, schedule));
  }
  const Json json = {
      {"p", sweep.config.parallel.pipeline},
      {"m", sweep.config.num_micro_batches()},
      {"objective", sweep.config.schedule.objective},
      {"time_unit", runtime::costs_are_seconds(sweep.config) ? "seconds" : "block_forwards"},
      {"unit_bytes", sweep.unit_bytes},
      {"work_per_rank", sweep.work_per_rank},
      {"search_seconds", sweep.search_seconds},
      {"points", std::move(points)},
      {"named", std::move(named)}};
  return json.dump() + "\n";
}

}  // namespace halfpipe::tools
