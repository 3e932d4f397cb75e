// SPDX-License-Identifier: Apache-2.0
// halfpipe schedule: the playground of schedules; no configuration, no model, no ranks.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/error.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/render_ascii.h"
#include "parallel/schedule/render_svg.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/make_schedule.h"
#include "tools/halfpipe/schedule_json.h"
#include "tools/halfpipe/write_output.h"
#include "tools/page/timeline_page.h"
#include "tools/page/timeline_trace.h"

namespace halfpipe::tools {

namespace {

constexpr int kTimelineColumns = 160;
constexpr int kMostRanks = 1024;
constexpr int kMostMicroBatches = 1 << 16;

double most(const std::vector<double>& values) {
  return values.empty() ? 0.0 : *std::max_element(values.begin(), values.end());
}

void print_table(const std::vector<MadeSchedule>& results) {
  fmt::print("{:<12}{:>12}{:>12}{:>9}{:>14}{:>12}{:>12}\n", "schedule", "span", "makespan",
             "bubble", "by makespan", "peak units", "made in s");
  for (const MadeSchedule& result : results) {
    const schedule::Timeline& timeline = result.timeline;
    fmt::print("{:<12}{:>12.4f}{:>12.4f}{:>8.2f}%{:>13.2f}%{:>12.2f}{:>12.4f}\n",
               result.orders.name, timeline.span, timeline.makespan,
               100.0 * timeline.bubble_fraction, 100.0 * timeline.bubble_fraction_makespan,
               most(timeline.peak_units), result.seconds);
  }
}

const char* name_of(schedule::PlacementKind kind) {
  switch (kind) {
    case schedule::PlacementKind::kLinear:
      return "linear";
    case schedule::PlacementKind::kInterleaved:
      return "interleaved";
    case schedule::PlacementKind::kV:
      return "V";
    case schedule::PlacementKind::kZigzag:
      return "zigzag";
  }
  return "";
}

/// How good a searched schedule is, and how good it might be.
void print_search(const ScheduleOptions& options, const MadeSchedule& result) {
  if (!result.search) return;
  const SearchReport& search = *result.search;
  const bool span = options.objective == schedule::Objective::kSpan;
  const schedule::Timeline& timeline = result.timeline;
  const double cost = schedule::cost_of(timeline, options.objective);
  const double bubble = span ? timeline.bubble_fraction : timeline.bubble_fraction_makespan;
  const double least = std::max(0.0, 1.0 - (1.0 - bubble) * cost / search.lower_bound);
  const std::string& name = result.orders.name;
  if (search.memory_limit) {
    fmt::print("{}: {} placement, {} chunks per rank, limit {:.2f} units per rank\n", name,
               name_of(result.orders.placement.kind()), result.orders.placement.num_chunks(),
               *search.memory_limit);
  }
  if (search.textbook_cost) {
    fmt::print(
        "{}: improved for these costs in the same memory; the textbook order (--exact) "
        "takes {:.4f}\n",
        name, *search.textbook_cost);
  }
  fmt::print("{}: {} {:.4f}, no schedule below {:.4f} (bubble {:.2f}%: {}); {}\n", name,
             span ? "span" : "makespan", cost, search.lower_bound, 100.0 * least, search.reason,
             cost <= search.lower_bound * (1.0 + 1e-9)
                 ? "optimal"
                 : fmt::format("gap {:.2f}%", 100.0 * (cost / search.lower_bound - 1.0)));
}

void print_timeline(const MadeSchedule& result) {
  fmt::print("{}\n",
             schedule::render_ascii(result.timeline, schedule::seconds_per_column_for(
                                                         result.timeline, kTimelineColumns)));
  fmt::print("peak units by rank:");
  for (const double units : result.timeline.peak_units) fmt::print(" {:.2f}", units);
  fmt::print("\n");
  if (!result.has_bytes) return;
  fmt::print("peak bytes by rank:");
  for (const std::int64_t bytes : result.timeline.peak_activation_bytes) fmt::print(" {}", bytes);
  fmt::print("\n");
}

void check(const ScheduleOptions& options) {
  for (const auto& [name, value] : {std::pair{"--forward", options.forward},
                                    std::pair{"--backward-input", options.backward_input},
                                    std::pair{"--backward-weight", options.backward_weight}}) {
    if (!(value > 0.0 && value < 1e12)) {
      throw ConfigError(fmt::format("{} ({}) must be above 0 and below 1e12", name, value));
    }
  }
  if (!(options.message >= 0.0 && options.message < 1e12)) {
    throw ConfigError(
        fmt::format("--comm ({}) must be at least 0 and below 1e12", options.message));
  }
  if (options.memory_limit && !(*options.memory_limit > 0.0 && *options.memory_limit < 1e9)) {
    throw ConfigError(
        fmt::format("--memory-limit ({}) must be above 0 and below 1e9", *options.memory_limit));
  }
  if (!(options.seconds >= 0.0 && options.seconds <= 86400.0)) {
    throw ConfigError(fmt::format("--seconds ({}) must be from 0 to 86400", options.seconds));
  }
}

template <typename Is>
bool any_name(const ScheduleOptions& options, const Is& is) {
  return is(options.name) || std::ranges::any_of(options.compare, is);
}

/// Options that would do nothing are refused.
void check_search_options(const CLI::App& command, const ScheduleOptions& options) {
  const auto refuse = [&](const char* option, const char* rule) {
    if (command.count(option) == 0) return;
    throw ConfigError(fmt::format("{} is for {}; {} is not", option, rule, options.name));
  };
  const bool searches = any_name(options, [](const std::string& name) { return name == "auto"; });
  const bool improvable = any_name(
      options, [](const std::string& name) { return schedule::is_made_for_equal_costs(name); });
  if (!searches) refuse("--memory-limit", "--name auto");
  if (!improvable) refuse("--exact", "schedules made for equal costs, 1f1b-v, v-min, v-half, w4");
  const bool equal_costs = options.stage_costs.empty() && options.message == 0.0 &&
                           options.forward == options.backward_input &&
                           options.forward == options.backward_weight;
  if (searches || (improvable && !options.exact && !equal_costs)) return;
  for (const char* option : {"--objective", "--seconds", "--evaluations", "--seed"}) {
    refuse(option,
           "--name auto, or 1f1b-v, v-min, v-half, w4 with unequal costs and without --exact");
  }
}

std::string known_names() {
  std::string names;
  for (const std::string_view name : schedule::schedule_names()) {
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return names;
}

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
    if (!result.search) continue;
    if (result.search->memory_limit) {
      shown.memory_limits.assign(
          result.timeline.ranks.size(),
          *result.search->memory_limit * (result.has_bytes ? result.search->unit_bytes : 1.0));
    }
    if (options.objective == schedule::Objective::kSpan) {
      shown.lower_bound = result.search->lower_bound;
    }
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

std::string costs_text(const ScheduleOptions& options) {
  if (!options.stage_costs.empty()) return "costs of " + options.stage_costs;
  return fmt::format("F {}, B {}, W {} per rank, messages {}", options.forward,
                     options.backward_input, options.backward_weight, options.message);
}

void run(const ScheduleOptions& options) {
  check(options);
  std::vector<MadeSchedule> results{make_schedule(options, options.name)};
  for (const std::string& name : options.compare) results.push_back(make_schedule(options, name));
  if (options.json != "-") {
    fmt::print("{} ranks, {} micro-batches; {}\n", options.num_ranks, options.num_micro_batches,
               costs_text(options));
    print_table(results);
    for (const MadeSchedule& result : results) print_search(options, result);
    if (options.compare.empty()) print_timeline(results.front());
  }
  write_files(options, results);
}

}  // namespace

void add_search_options(CLI::App& command, ScheduleOptions& options) {
  command.add_flag("--exact", options.exact,
                   "Keep the textbook orders of 1f1b-v, v-min, v-half and w4 where costs are not "
                   "equal; they are improved otherwise, in the same memory");
  command.add_option("--memory-limit", options.memory_limit,
                     "For auto: units of memory per rank; that of 1F1B, as many as ranks, when not "
                     "given");
  command
      .add_option("--objective", options.objective,
                  "What a search makes small, the longest span of a rank or the makespan")
      ->transform(CLI::CheckedTransformer(std::map<std::string, schedule::Objective>{
          {"span", schedule::Objective::kSpan}, {"makespan", schedule::Objective::kMakespan}}));
  command.add_option("--seconds", options.seconds, "How long to search")->capture_default_str();
  command
      .add_option("--evaluations", options.evaluations,
                  "How much to search, instead of seconds: the same schedule everywhere")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40U));
  command.add_option("--seed", options.seed, "Another seed finds other schedules")
      ->capture_default_str();
}

void add_schedule(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "schedule", "Make a schedule for any number of ranks, time it and draw it; needs no job");
  const auto options = std::make_shared<ScheduleOptions>();
  command
      ->add_option("--name", options->name,
                   "A schedule of the catalogue (" + known_names() + "), or auto: searched")
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
  for (const char* option : {"--forward", "--backward-input", "--backward-weight", "--comm"}) {
    stage_costs->excludes(command->get_option(option));
  }
  add_search_options(*command, *options);
  command->add_option("--compare", options->compare, "More schedules, to stand beside it")
      ->delimiter(',');
  command->add_option("--json", options->json, "Write the passes with their times; -: print them");
  command->add_option("--svg", options->svg, "Write the timeline as a picture");
  command->add_option("--html", options->html,
                      "Write a page: all timelines to zoom, memory over time, details on hover");
  command->add_option("--trace", options->trace,
                      "Write the timeline for Perfetto or chrome://tracing");
  command->footer(
      "Times are totals of all chunks of a rank, in any unit. A unit of memory is one micro-batch "
      "on 1/ranks of the model.\n"
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
    check_search_options(*command, *options);
    run(*options);
  });
}

}  // namespace halfpipe::tools
