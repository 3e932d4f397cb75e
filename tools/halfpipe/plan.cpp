// SPDX-License-Identifier: Apache-2.0
// halfpipe plan: what a job will do, before any rank starts; and what more or less memory would
// change.
#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/config/load_config.h"
#include "engine/runtime/planning/job.h"
#include "engine/runtime/ranks/host_cores.h"
#include "engine/runtime/ranks/mesh_of.h"
#include "engine/runtime/training/training_inputs.h"
#include "kernels/core/error.h"
#include "parallel/schedule/render_svg.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/devices.h"
#include "tools/halfpipe/option_checks.h"
#include "tools/halfpipe/plan_search.h"
#include "tools/halfpipe/planned_step.h"
#include "tools/halfpipe/sweep_memory.h"
#include "tools/halfpipe/sweep_report.h"
#include "tools/halfpipe/write_output.h"
#include "tools/page/timeline_page.h"
#include "tools/page/timeline_trace.h"

namespace halfpipe::tools {

namespace {

constexpr std::size_t kMostLayouts = 1000;

struct Options {
  std::string config;
  std::vector<std::string> settings;
  std::optional<double> flops_per_second;
  std::string json;
  std::string svg;
  std::string html;
  std::string trace;
  bool sweep = false;
  double seconds = 0.3;
  std::int64_t evaluations = 0;
  bool search = false;
  LayoutSearchOptions layouts;
};

/// `text` for people, unless --json has standard output.
void print_answer(const Options& options, const std::string& text, const std::string& json) {
  fmt::print("{}", options.json == "-" ? json : text);
  if (!options.json.empty() && options.json != "-") write_output(options.json, json);
}

std::string page_of(const PlannedStep& step) {
  page::TimelinePage page{step.title(), {}, step.time_unit()};
  page.schedules.push_back({step.job.training.schedule_name, step.timeline, step.costs});
  page::PageSchedule& shown = page.schedules.back();
  shown.memory_measure = page::MemoryMeasure::kBytes;
  if (step.job.search) {
    const runtime::ScheduleSearch& search = *step.job.search;
    shown.memory_limits.assign(search.memory_limit.begin(), search.memory_limit.end());
    if (step.job.config.schedule.objective == "span") {
      shown.lower_bound = search.lower_bound * step.scale();
    }
  }
  return page::render_timeline_page(page);
}

void show_step(const Options& options, const config::RunConfig& config) {
  if (options.flops_per_second && is_modelled(config.device)) {
    throw ConfigError("--flops-per-second: device.kind modelled has its rates in device.hardware");
  }
  runtime::Job job = runtime::make_job(config);
  // Whether the CPUs suffice to keep each thread on one of its own is asked where the job runs.
  const runtime::RankThreads threads{
      runtime::planned_threads(config.device, runtime::mesh_of(config.parallel).num_ranks()), {}};
  const auto backend = make_planning_backend(config, threads);
  std::vector<runtime::RankMemory> memory = runtime::plan_memory(job, *backend);
  const PlannedStep step =
      plan_step(std::move(job), std::move(memory), threads.count, options.flops_per_second);
  const std::string json = options.json.empty() ? "" : planned_step_json(step);
  print_answer(options, planned_step_text(step), json);
  if (!options.svg.empty()) {
    write_output(options.svg, schedule::render_svg(step.timeline, step.title(), step.time_unit()));
  }
  if (!options.html.empty()) write_output(options.html, page_of(step));
  if (!options.trace.empty()) page::write_timeline_trace(options.trace, step.timeline);
}

void show_sweep(const Options& options, const config::RunConfig& config) {
  if (config.model.recompute.size() > 1) {
    throw ConfigError(
        "train.recompute is a list, one for each stage, and --sweep-memory compares schedules with "
        "different numbers of stages: give one for all stages");
  }
  const MemorySweep sweep = sweep_memory(config, {options.seconds, options.evaluations});
  const std::string json = options.json.empty() ? "" : sweep_json(sweep);
  print_answer(options, sweep_table(sweep), json);
  if (!options.svg.empty()) write_output(options.svg, sweep_svg(sweep));
}

void show_layouts(const Options& options) {
  LayoutSearchOptions layouts = options.layouts;
  layouts.config = options.config;
  layouts.settings = options.settings;
  layouts.json = options.json;
  search_and_print(layouts);
}

void plan(const Options& options) {
  if (options.search) {
    show_layouts(options);
    return;
  }
  // A sweep has an objective whatever schedule the job itself would run.
  std::vector<std::string> meant_anyway;
  if (options.sweep) meant_anyway = {"schedule.objective"};
  config::RunConfig config = config::load_config(options.config, options.settings, meant_anyway);
  if (config.model.vocab_size == 0) runtime::open_training_data(config);
  options.sweep ? show_sweep(options, config) : show_step(options, config);
}

/// Of the job as it is; a sweep has no timeline and no rate.
std::vector<CLI::Option*> add_step_options(CLI::App& command,
                                           Options& options,
                                           CLI::Option* sweep) {
  CLI::Option* rate =
      command
          .add_option(
              "--flops-per-second", options.flops_per_second,
              "What a rank does, floating-point operations per second: times become seconds")
          ->check(number_from(1.0, 1e21))
          ->excludes(sweep);
  CLI::Option* html =
      command
          .add_option("--html", options.html,
                      "Write a page: the timeline to zoom, memory over time, details on hover")
          ->check(not_empty())
          ->excludes(sweep);
  CLI::Option* trace = command
                           .add_option("--trace", options.trace,
                                       "Write the timeline for Perfetto or chrome://tracing")
                           ->check(not_empty())
                           ->excludes(sweep);
  return {rate, html, trace};
}

void add_sweep_options(CLI::App& command, Options& options, CLI::Option* sweep) {
  CLI::Option* seconds =
      command
          .add_option("--seconds", options.seconds,
                      "How long to search for each limit (without --sweep-memory: "
                      "schedule.search_seconds)")
          ->check(number_from(0.0, 86400.0))
          ->capture_default_str()
          ->needs(sweep);
  command
      .add_option("--evaluations", options.evaluations,
                  "How much to search for each limit, instead of seconds: the same sweep "
                  "everywhere")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40U))
      ->needs(sweep)
      ->excludes(seconds);
}

/// `others`: options that show one job, or a sweep.
void add_search_options(CLI::App& command,
                        Options& options,
                        const std::vector<CLI::Option*>& others) {
  CLI::Option* search =
      command.add_flag("--search", options.search,
                       "Search the best layout: data x tensor x pipeline, micro-batch size, "
                       "schedule, recompute, zero_stage and gather_again; what the file says of "
                       "these does not matter");
  for (CLI::Option* other : others) search->excludes(other);
  LayoutSearchOptions& layouts = options.layouts;
  CLI::Option* ranks = command
                           .add_option("--ranks", layouts.num_ranks,
                                       "Devices that a search has: data x tensor x pipeline")
                           ->check(CLI::Range(1, config::kMostRanks))
                           ->needs(search);
  search->needs(ranks);
  command
      .add_option("--memory-per-rank", layouts.memory_per_rank,
                  "What a layout may take on a rank, as 80GiB (default: what the device has)")
      ->check(not_empty())
      ->needs(search);
  command
      .add_option("--hardware", layouts.hardware,
                  "Hardware profile to search by, for a job whose device.kind is not modelled")
      ->check(not_empty())
      ->needs(search);
  command.add_option("--top", layouts.num_best, "Layouts to print")
      ->check(CLI::Range(std::size_t{1}, kMostLayouts))
      ->capture_default_str()
      ->needs(search);
  command.add_option("--output", layouts.output, "Write the job with the best layout as YAML file")
      ->check(not_empty())
      ->needs(search);
}

}  // namespace

void add_plan(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "plan",
      "Show stage map, planned bubble, memory, messages, time and timeline; starts no rank");
  const auto options = std::make_shared<Options>();
  command->add_option("config", options->config, "YAML file")->required();
  command->add_option("--set", options->settings, "section.key=value; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--json", options->json, "Write all that is printed as JSON; -: print that only")
      ->check(not_empty());
  CLI::Option* svg = command
                         ->add_option("--svg", options->svg,
                                      "Write the timeline, or the curve of a sweep, as a picture")
                         ->check(not_empty());
  CLI::Option* sweep = command->add_flag(
      "--sweep-memory", options->sweep,
      "Search schedules for a row of memory limits: bubble against memory, beside the named ones");
  std::vector<CLI::Option*> not_of_search = add_step_options(*command, *options, sweep);
  not_of_search.insert(not_of_search.end(), {sweep, svg});
  add_sweep_options(*command, *options, sweep);
  add_search_options(*command, *options, not_of_search);
  command->footer(
      "Times are modelled: matrix products by their floating-point operations, messages free; in "
      "forward passes of a block, or in seconds with --flops-per-second. With device.kind modelled "
      "they are those of device.hardware, messages included.\n"
      "Examples:\n"
      "  halfpipe plan configs/quickstart.yaml\n"
      "  halfpipe plan configs/quickstart.yaml --set schedule.name=v-min --svg v-min.svg\n"
      "  halfpipe plan configs/quickstart.yaml --flops-per-second 5e10 --html plan.html --trace "
      "plan.json\n"
      "  halfpipe plan configs/quickstart.yaml --set schedule.name=auto --set "
      "schedule.memory_limit=60% --json plan.json\n"
      "  halfpipe plan configs/quickstart.yaml --sweep-memory --seconds 1 --svg memory.svg\n"
      "  halfpipe plan configs/modelled/gpt3-7b_h100.yaml --search --ranks 32 --output best.yaml");
  command->callback([options] { plan(*options); });
}

}  // namespace halfpipe::tools
