// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/plan_search.h"

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "engine/config/config_to_yaml.h"
#include "engine/config/load_config.h"
#include "engine/config/memory_limit.h"
#include "engine/runtime/planning/layout_search.h"
#include "engine/runtime/ranks/host_cores.h"
#include "engine/runtime/training/training_inputs.h"
#include "kernels/core/error.h"
#include "kernels/core/stopwatch.h"
#include "tools/halfpipe/devices.h"
#include "tools/halfpipe/layout_report.h"
#include "tools/halfpipe/write_output.h"

namespace halfpipe::tools {

namespace {

constexpr double kGibibyte = 1 << 30;

/// What says how a single layout is cut says nothing of all of them.
void check_keys(const config::RunConfig& config) {
  if (config.parallel.layers_per_stage) {
    throw ConfigError(
        "parallel.layers_per_stage is a list, one for each stage, and --search compares layouts "
        "with different numbers of stages: use auto");
  }
  if (config.model.recompute.size() > 1) {
    throw ConfigError(
        "train.recompute is a list, one for each stage, and --search tries every kind for all "
        "stages: give one for all stages");
  }
  if (!config.schedule.memory_limit.empty() || !config.schedule.rank_memory_limits.empty()) {
    throw ConfigError(
        "schedule.memory_limit is of activations, for schedule.name auto, which --search does not "
        "try; use --memory-per-rank, or null");
  }
}

void read_profile(const LayoutSearchOptions& options, config::RunConfig& config) {
  if (is_modelled(config.device)) {
    if (options.hardware.empty()) return;
    throw ConfigError("--hardware: device.kind modelled has its rates in device.hardware");
  }
  if (options.hardware.empty()) {
    throw ConfigError(
        fmt::format("--search: device.kind {} has no rates to plan by; use --hardware FILE, as "
                    "configs/hardware/h100-sxm.yaml, or device.kind modelled",
                    config.device.kind));
  }
  config.device.profile = config::load_hardware(options.hardware);
}

std::int64_t memory_of(const LayoutSearchOptions& options, const config::RunConfig& config) {
  if (options.memory_per_rank.empty()) return config.device.profile->memory_bytes;
  constexpr double kMost = 0x1p60;
  const auto limit = config::parse_memory_limit(options.memory_per_rank);
  if (limit && limit->measure == config::MemoryMeasure::kBytes && limit->amount <= kMost) {
    return static_cast<std::int64_t>(limit->amount);
  }
  throw ConfigError(
      fmt::format("--memory-per-rank ({}) must be bytes, as 80GiB (B, KiB, MiB, GiB, TiB)",
                  options.memory_per_rank));
}

[[noreturn]] void refuse_all(const LayoutReport& report) {
  if (!report.found.smallest) {
    throw ConfigError(fmt::format(
        "--ranks ({}): the job has no layout on so many ranks; model.num_layers ({}) limits the "
        "pipeline, and train.global_batch_size ({}) must be a multiple of the replicas",
        report.num_ranks, report.config.model.num_layers, report.config.train.global_batch_size));
  }
  const runtime::PlannedLayout& smallest = *report.found.smallest;
  throw ConfigError(fmt::format(
      "no layout on {} ranks fits {:.2f} GiB per rank; the smallest needs {:.2f} GiB: {}",
      report.num_ranks, static_cast<double>(report.memory_per_rank) / kGibibyte,
      static_cast<double>(smallest.memory.total()) / kGibibyte, layout_text(smallest.layout)));
}

std::string yaml_of(const LayoutReport& report) {
  return fmt::format("# The best layout on {} x {} by halfpipe plan --search: {}\n",
                     report.num_ranks, report.config.device.profile->name,
                     layout_text(report.found.best.front().layout)) +
         config::to_yaml(runtime::with_layout(report.config, report.found.best.front().layout));
}

}  // namespace

void search_and_print(const LayoutSearchOptions& options) {
  check_outputs({{"--json", options.json}, {"--output", options.output}},
                {{"the configuration", options.config}});
  config::RunConfig config = config::load_config(options.config, options.settings);
  check_keys(config);
  read_profile(options, config);
  const std::int64_t memory = memory_of(options, config);
  if (config.model.vocab_size == 0) runtime::open_training_data(config);
  const runtime::RankThreads threads{runtime::planned_threads(config.device, options.num_ranks),
                                     {}};
  const auto backend = make_planning_backend(config, threads);
  const Stopwatch watch;
  LayoutReport report{config, options.num_ranks, memory, {}, 0.0};
  report.found =
      runtime::search_layouts(config, options.num_ranks, {memory, options.num_best}, *backend);
  report.seconds = watch.seconds();
  if (report.found.best.empty()) refuse_all(report);
  fmt::print("{}", options.json == "-" ? layout_json(report) : layout_table(report));
  if (!options.json.empty() && options.json != "-") write_output(options.json, layout_json(report));
  if (!options.output.empty()) write_output(options.output, yaml_of(report));
}

}  // namespace halfpipe::tools
