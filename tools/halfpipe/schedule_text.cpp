// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/schedule_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "parallel/schedule/render_ascii.h"

namespace halfpipe::tools {

namespace {

constexpr int kTimelineColumns = 160;

double most(const std::vector<double>& values) {
  return values.empty() ? 0.0 : *std::max_element(values.begin(), values.end());
}

/// Times of usual size line up by their points; very large or small ones keep six digits.
std::string time_text(double time, double largest) {
  return largest >= 1.0 && largest < 1e7 ? fmt::format("{:.4f}", time)
                                         : fmt::format("{:.6g}", time);
}

std::string time_text(double time) {
  return time_text(time, time);
}

std::string costs_text(const ScheduleOptions& options) {
  if (!options.stage_costs.empty()) return "costs of " + options.stage_costs;
  return fmt::format("F {}, B {}, W {} per rank, messages {}", options.forward,
                     options.backward_input, options.backward_weight, options.message);
}

constexpr std::size_t kNumColumns = 7;
using Line = std::array<std::string, kNumColumns>;

/// Columns are as wide as below, wider where a cell needs it.
std::string aligned(const std::vector<Line>& lines) {
  std::array<std::size_t, kNumColumns> widths = {12, 12, 12, 9, 14, 12, 12};
  for (const Line& line : lines) {
    for (std::size_t i = 0; i < kNumColumns; ++i) {
      const std::size_t gap = i == 0 ? 0 : 2;
      widths[i] = std::max(widths[i], line[i].size() + gap);
    }
  }
  std::string text;
  for (const Line& line : lines) {
    text += fmt::format("{:<{}}", line[0], widths[0]);
    for (std::size_t i = 1; i < kNumColumns; ++i) text += fmt::format("{:>{}}", line[i], widths[i]);
    text += '\n';
  }
  return text;
}

std::string table(const std::vector<MadeSchedule>& results) {
  double largest = 0.0;
  for (const MadeSchedule& result : results) largest = std::max(largest, result.timeline.makespan);
  std::vector<Line> lines = {
      {"schedule", "span", "makespan", "bubble", "by makespan", "peak units", "made in s"}};
  for (const MadeSchedule& result : results) {
    const schedule::Timeline& timeline = result.timeline;
    lines.push_back({result.orders.name, time_text(timeline.span, largest),
                     time_text(timeline.makespan, largest),
                     fmt::format("{:.2f}%", 100.0 * timeline.bubble_fraction),
                     fmt::format("{:.2f}%", 100.0 * timeline.bubble_fraction_makespan),
                     fmt::format("{:.2f}", most(peak_units(result))),
                     fmt::format("{:.4f}", result.seconds)});
  }
  return aligned(lines);
}

/// What a search found, beside its figures.
std::string search_text(const MadeSchedule& result) {
  if (!result.search) return "";
  const std::string& name = result.orders.name;
  const std::vector<double>& limit = result.search->memory_limit;
  std::string text;
  if (!limit.empty()) {
    text += fmt::format(
        "{}: {} placement, {} chunks per rank, {}\n", name,
        schedule::name_of(result.orders.placement.kind()), result.orders.placement.num_chunks(),
        limit.size() == 1 ? fmt::format("limit {:.2f} units per rank", limit.front())
                          : fmt::format("limits by rank {:.2f} units", fmt::join(limit, " ")));
  }
  if (result.search->textbook_cost) {
    text += fmt::format(
        "{}: improved for these costs in the same memory; the textbook order (--exact) takes {}\n",
        name, time_text(*result.search->textbook_cost));
  }
  return text;
}

/// How good a schedule is, and how good it might be.
std::string bound_text(const MadeSchedule& result) {
  const ScheduleBounds& bounds = result.bounds.value();
  const bool span = bounds.objective == schedule::Objective::kSpan;
  const schedule::Timeline& timeline = result.timeline;
  const double cost = schedule::cost_of(timeline, bounds.objective);
  const double bound = bounds.of_objective.seconds;
  const double bubble = span ? timeline.bubble_fraction : timeline.bubble_fraction_makespan;
  const bool searched_placements = result.search && !result.search->memory_limit.empty();
  return fmt::format(
      "{}: {} {}, no schedule {} below {} (bubble {:.2f}%: {}); {}\n", result.orders.name,
      span ? "span" : "makespan", time_text(cost),
      searched_placements ? "on the placements searched" : "of this placement within its memory",
      time_text(bound, cost), 100.0 * std::max(0.0, 1.0 - (1.0 - bubble) * cost / bound),
      bounds.of_objective.reason,
      cost <= bound * (1.0 + 1e-9) ? "optimal"
                                   : fmt::format("gap {:.2f}%", 100.0 * (cost / bound - 1.0)));
}

std::string timeline_text(const schedule::Timeline& timeline) {
  if (!schedule::fits_as_text(timeline, kTimelineColumns)) {
    return "timeline: too wide or too tall for text; --svg or --html draws it\n";
  }
  return schedule::render_ascii(timeline,
                                schedule::seconds_per_column_for(timeline, kTimelineColumns)) +
         "\n";
}

std::string memory_text(const MadeSchedule& result, const std::string& prefix) {
  std::string text =
      fmt::format("{}peak units by rank: {:.2f}\n", prefix, fmt::join(peak_units(result), " "));
  if (result.has_bytes) {
    text += fmt::format("{}peak bytes by rank: {}\n", prefix,
                        fmt::join(result.timeline.peak_activation_bytes, " "));
  }
  return text;
}

}  // namespace

std::string schedule_text(const ScheduleOptions& options,
                          const std::vector<MadeSchedule>& results) {
  std::string text = fmt::format("{} ranks, {} micro-batches; {}\n", options.num_ranks,
                                 options.num_micro_batches, costs_text(options)) +
                     table(results);
  const bool alone = results.size() == 1;
  for (const MadeSchedule& result : results) {
    text += search_text(result);
    if (alone || result.search) text += bound_text(result);
  }
  if (alone) return text + timeline_text(results.front().timeline) + memory_text(results[0], "");
  for (const MadeSchedule& result : results) {
    text += memory_text(result, result.orders.name + ": ");
  }
  return text;
}

}  // namespace halfpipe::tools
