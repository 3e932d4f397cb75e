// SPDX-License-Identifier: Apache-2.0
// halfpipe schedule: the playground of schedules; no configuration, no model, no ranks.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "engine/files/output_file.h"
#include "kernels/core/error.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/render_ascii.h"
#include "parallel/schedule/render_svg.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/schedule_json.h"
#include "tools/page/timeline_page.h"
#include "tools/page/timeline_trace.h"

namespace halfpipe::tools {

namespace {

constexpr int kTimelineColumns = 160;
constexpr int kMostRanks = 1024;
constexpr int kMostMicroBatches = 1 << 16;

struct Options {
  std::string name = "v-half";
  int num_ranks = 4;
  int num_micro_batches = 8;
  int num_chunks = 2;
  // Of one micro-batch on one rank, over all its chunks.
  double forward = 1.0;
  double backward_input = 1.0;
  double backward_weight = 1.0;
  double message = 0.0;
  std::vector<std::string> compare;
  std::string json;
  std::string svg;
  std::string html;
  std::string trace;
};

struct Result {
  schedule::StageOrders orders;
  schedule::CostModel costs;
  schedule::Timeline timeline;
  double seconds;  // that it took to make it
};

schedule::CostModel costs_of(const Options& options, const schedule::Placement& placement) {
  schedule::CostModel costs = schedule::uniform_costs(placement.num_stages());
  for (schedule::StageCost& stage : costs.stages) {
    stage.forward_seconds = options.forward / placement.num_chunks();
    stage.backward_input_seconds = options.backward_input / placement.num_chunks();
    stage.backward_weight_seconds = options.backward_weight / placement.num_chunks();
  }
  costs.message_seconds = options.message;
  return costs;
}

Result make(const Options& options, const std::string& name) {
  const schedule::Placement placement =
      schedule::placement_for(name, options.num_ranks, options.num_chunks);
  schedule::CostModel costs = costs_of(options, placement);
  const auto start = std::chrono::steady_clock::now();
  schedule::StageOrders orders = schedule::make_orders(
      name, options.num_ranks, options.num_micro_batches, options.num_chunks, costs);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  schedule::Timeline timeline = schedule::simulate(orders, costs);
  return {std::move(orders), std::move(costs), std::move(timeline), elapsed.count()};
}

double most(const std::vector<double>& values) {
  return values.empty() ? 0.0 : *std::max_element(values.begin(), values.end());
}

void print_table(const std::vector<Result>& results) {
  fmt::print("{:<12}{:>12}{:>12}{:>9}{:>14}{:>12}{:>12}\n", "schedule", "span", "makespan",
             "bubble", "by makespan", "peak units", "made in s");
  for (const Result& result : results) {
    const schedule::Timeline& timeline = result.timeline;
    fmt::print("{:<12}{:>12.4f}{:>12.4f}{:>8.2f}%{:>13.2f}%{:>12.2f}{:>12.4f}\n",
               result.orders.name, timeline.span, timeline.makespan,
               100.0 * timeline.bubble_fraction, 100.0 * timeline.bubble_fraction_makespan,
               most(timeline.peak_units), result.seconds);
  }
}

void print_timeline(const Result& result) {
  fmt::print("{}\n",
             schedule::render_ascii(result.timeline, schedule::seconds_per_column_for(
                                                         result.timeline, kTimelineColumns)));
  fmt::print("peak units by rank:");
  for (const double units : result.timeline.peak_units) fmt::print(" {:.2f}", units);
  fmt::print("\n");
}

void check(const Options& options) {
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
}

constexpr const char* kTimeUnit = "units of the times given";

std::string sizes_of(const Options& options) {
  return fmt::format("{} pipeline ranks, {} micro-batches", options.num_ranks,
                     options.num_micro_batches);
}

void write_page(const Options& options, const std::vector<Result>& results) {
  page::TimelinePage page;
  page.title = sizes_of(options);
  page.time_unit = kTimeUnit;
  for (const Result& result : results) {
    page.schedules.push_back({result.orders.name, result.timeline, result.costs});
  }
  files::write_file(options.html, page::render_timeline_page(page));
}

void write_files(const Options& options, const std::vector<Result>& results) {
  const Result& first = results.front();
  if (!options.svg.empty()) {
    files::write_file(
        options.svg,
        schedule::render_svg(first.timeline, options.name + ": " + sizes_of(options), kTimeUnit));
  }
  if (!options.html.empty()) write_page(options, results);
  if (!options.trace.empty()) page::write_timeline_trace(options.trace, first.timeline);
  if (options.json.empty()) return;
  const std::string json = schedule_json(first.orders, first.costs, first.timeline);
  if (options.json == "-") {
    fmt::print("{}", json);
  } else {
    files::write_file(options.json, json);
  }
}

void run(const Options& options) {
  check(options);
  std::vector<Result> results{make(options, options.name)};
  for (const std::string& name : options.compare) results.push_back(make(options, name));
  if (options.json != "-") {
    fmt::print("{} ranks, {} micro-batches; F {}, B {}, W {} per rank, messages {}\n",
               options.num_ranks, options.num_micro_batches, options.forward,
               options.backward_input, options.backward_weight, options.message);
    print_table(results);
    if (options.compare.empty()) print_timeline(results.front());
  }
  write_files(options, results);
}

}  // namespace

void add_schedule(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "schedule", "Make a schedule for any number of ranks, time it and draw it; needs no job");
  const auto options = std::make_shared<Options>();
  command
      ->add_option("--name", options->name,
                   "gpipe, 1f1b, interleaved, zb-1p, zb-2p, v-min, v-half or v-zb")
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
      "  halfpipe schedule --name v-zb --ranks 4 --micro-batches 12 --json v-zb.json --svg "
      "v-zb.svg\n"
      "  halfpipe schedule --name v-half --compare 1f1b,v-zb --html schedules.html");
  command->callback([options] { run(*options); });
}

}  // namespace halfpipe::tools
