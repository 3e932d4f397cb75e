// SPDX-License-Identifier: Apache-2.0
// halfpipe schedule: the playground of schedules; no configuration, no model, no ranks.
#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "parallel/schedule/render_svg.h"
#include "tools/halfpipe/check_schedule_options.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/make_schedule.h"
#include "tools/halfpipe/option_checks.h"
#include "tools/halfpipe/schedule_costs.h"
#include "tools/halfpipe/schedule_json.h"
#include "tools/halfpipe/schedule_text.h"
#include "tools/halfpipe/write_output.h"
#include "tools/page/timeline_page.h"
#include "tools/page/timeline_trace.h"

namespace halfpipe::tools {

namespace {

constexpr int kMostRanks = 1024;
constexpr int kMostMicroBatches = 1 << 16;

constexpr const char* kTimeUnit = "units of the times given";

std::string sizes_of(const ScheduleOptions& options) {
  return fmt::format("{} pipeline ranks, {} micro-batches", options.num_ranks,
                     options.num_micro_batches);
}

void write_page(const ScheduleOptions& options, const std::vector<MadeSchedule>& results) {
  page::TimelinePage page;
  page.title = sizes_of(options);
  page.time_unit = kTimeUnit;
  for (const MadeSchedule& result : results) {
    page.schedules.push_back({result.orders.name, result.timeline, result.costs});
    page::PageSchedule& shown = page.schedules.back();
    if (result.has_bytes) shown.memory_measure = page::MemoryMeasure::kBytes;
    if (!result.search || !result.bounds) continue;
    std::vector<double> limits = result.search->memory_limit;
    if (limits.size() == 1) limits.resize(result.timeline.ranks.size(), limits.front());
    for (double& limit : limits) limit *= result.unit_bytes.value_or(1.0);
    shown.memory_limits = std::move(limits);
    shown.lower_bound = result.bounds->of_span;
  }
  write_output(options.html, page::render_timeline_page(page));
}

void write_files(const ScheduleOptions& options, const std::vector<MadeSchedule>& results) {
  const MadeSchedule& first = results.front();
  if (!options.svg.empty()) {
    write_output(
        options.svg,
        schedule::render_svg(first.timeline, options.name + ": " + sizes_of(options), kTimeUnit));
  }
  if (!options.html.empty()) write_page(options, results);
  if (!options.trace.empty()) page::write_timeline_trace(options.trace, first.timeline);
  if (options.json.empty()) return;
  const std::string json = schedule_json(first);
  if (options.json == "-") {
    fmt::print("{}", json);
  } else {
    write_output(options.json, json);
  }
}

void run(const ScheduleOptions& options) {
  const ScheduleCosts costs(options);
  std::vector<MadeSchedule> results{make_schedule(options, costs, options.name)};
  for (const std::string& name : options.compare) {
    results.push_back(make_schedule(options, costs, name));
  }
  if (options.json != "-") fmt::print("{}", schedule_text(options, results));
  write_files(options, results);
}

void add_search_options(CLI::App& command, ScheduleOptions& options) {
  command.add_flag("--exact", options.exact,
                   "Keep the textbook orders of 1f1b-v, v-min, v-half and w4 where costs are not "
                   "equal; they are improved otherwise, in the same memory");
  command
      .add_option_function<std::string>(
          "--memory-limit",
          [&options](const std::string& text) { options.memory_limit = memory_limit_in(text); },
          "For auto: units of memory per rank, one number for all or one for each rank with commas "
          "between; that of 1F1B, as many as ranks, when not given")
      ->type_name("FLOAT[,FLOAT...]");
  // By name: CLI11 would take an enumeration of one byte for a letter.
  command
      .add_option_function<std::string>(
          "--objective",
          [&options](const std::string& name) {
            options.objective =
                name == "span" ? schedule::Objective::kSpan : schedule::Objective::kMakespan;
          },
          "What a search makes small, the longest span of a rank or the makespan")
      ->check(CLI::IsMember({"span", "makespan"}))
      ->default_str("span");
  CLI::Option* seconds =
      command.add_option("--seconds", options.seconds, "How long to search")->capture_default_str();
  command
      .add_option("--evaluations", options.evaluations,
                  "How much to search, instead of seconds: the same schedule everywhere")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40U))
      ->excludes(seconds);
  command.add_option("--seed", options.seed, "Another seed finds other schedules")
      ->check(whole_number_of_64_bits())
      ->capture_default_str();
}

void add_outputs(CLI::App& command, ScheduleOptions& options) {
  command.add_option("--json", options.json, "Write the passes with their times; -: print them")
      ->check(not_empty());
  command.add_option("--svg", options.svg, "Write the timeline as a picture")->check(not_empty());
  command
      .add_option("--html", options.html,
                  "Write a page: all timelines to zoom, memory over time, details on hover")
      ->check(not_empty());
  command
      .add_option("--trace", options.trace, "Write the timeline for Perfetto or chrome://tracing")
      ->check(not_empty());
}

}  // namespace

void add_schedule(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "schedule", "Make a schedule for any number of ranks, time it and draw it; needs no job");
  const auto options = std::make_shared<ScheduleOptions>();
  command
      ->add_option("--name", options->name,
                   "A schedule of the catalogue (" + known_schedules() + "), or auto: searched")
      ->capture_default_str();
  command->add_option("--ranks", options->num_ranks, "Pipeline ranks")
      ->check(CLI::Range(1, kMostRanks))
      ->capture_default_str();
  command->add_option("--micro-batches", options->num_micro_batches, "Micro-batches per step")
      ->check(CLI::Range(1, kMostMicroBatches))
      ->capture_default_str();
  command->add_option("--chunks", options->num_chunks, "Stages per rank of interleaved")
      ->check(CLI::Range(1, kMostRanks))
      ->capture_default_str();
  command->add_option("--forward", options->forward, "Time of F of one micro-batch on one rank")
      ->capture_default_str();
  command->add_option("--backward-input", options->backward_input, "The same of B")
      ->capture_default_str();
  command->add_option("--backward-weight", options->backward_weight, "The same of W")
      ->capture_default_str();
  command->add_option("--comm", options->message, "Time of a message between two ranks")
      ->capture_default_str();
  CLI::Option* stage_costs = command->add_option(
      "--stage-costs", options->stage_costs,
      "A JSON file: seconds and bytes of each stage, costs of links (docs/schedules.md)");
  stage_costs->check(not_empty());
  for (const char* option : {"--forward", "--backward-input", "--backward-weight", "--comm"}) {
    stage_costs->excludes(command->get_option(option));
  }
  add_search_options(*command, *options);
  command->add_option("--compare", options->compare, "More schedules, to stand beside it")
      ->delimiter(',');
  add_outputs(*command, *options);
  command->footer(
      "Times are totals of all chunks of a rank, in any unit. A unit of memory is one micro-batch "
      "on 1/ranks of the model.\n"
      "The timeline has a line per rank: F forward, B backward for the input, W backward for the "
      "weights, with the micro-batch where it fits; upper case for chunk 0 of the rank, lower case "
      "for later ones, dots for idle time.\n"
      "Examples:\n"
      "  halfpipe schedule --name v-half --ranks 8 --micro-batches 32\n"
      "  halfpipe schedule --name v-min --ranks 8 --micro-batches 32 --backward-input 1.2 "
      "--backward-weight 0.8 --compare v-half,v-zb,1f1b\n"
      "  halfpipe schedule --name auto --ranks 8 --micro-batches 32 --memory-limit 4.5 "
      "--backward-input 1.2 --backward-weight 0.8 --compare v-min,v-half\n"
      "  halfpipe schedule --name v-zb --ranks 4 --micro-batches 12 --json v-zb.json --svg "
      "v-zb.svg\n"
      "  halfpipe schedule --name v-half --compare 1f1b,v-zb --html schedules.html");
  command->callback([command, options] {
    check_schedule_options(*command, *options);
    run(*options);
  });
}

}  // namespace halfpipe::tools
