// SPDX-License-Identifier: Apache-2.0
#include "tools/page/timeline_page.h"

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>

#include "parallel/schedule/schedule_error.h"
#include "tools/page/timeline_page_text.h"

namespace halfpipe::page {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kPlaceOfSchedules = "@SCHEDULES@";
constexpr int kTimeDigits = 9;

void check(const PageSchedule& schedule) {
  const std::size_t num_ranks = schedule.timeline.ranks.size();
  if (num_ranks == 0 || schedule.costs.stages.size() % num_ranks != 0) {
    throw schedule::ScheduleError(
        "'" + schedule.title + "' has costs for " + std::to_string(schedule.costs.stages.size()) +
        " stages, which must be a multiple of its " + std::to_string(num_ranks) + " ranks");
  }
  if (!schedule.memory_limits.empty() && schedule.memory_limits.size() != num_ranks) {
    throw schedule::ScheduleError("'" + schedule.title + "' has " +
                                  std::to_string(schedule.memory_limits.size()) +
                                  " memory limits, which must be one for each of its " +
                                  std::to_string(num_ranks) + " ranks");
  }
}

/// Sums such as 0.1 + 0.2 would take 17 digits to write; nobody sees more than nine.
double rounded(double value) {
  std::array<char, 32> text{};
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value,
                                     std::chars_format::general, kTimeDigits);
  double result = value;
  std::from_chars(text.data(), written.ptr, result);
  return result;
}

/// Arrays beside each other, one entry per pass: see RankPasses in schedule_data.js.
Json passes_json(const std::vector<schedule::TimedPass>& passes) {
  Json pass = Json::array();
  Json micro_batch = Json::array();
  Json start = Json::array();
  Json duration = Json::array();
  for (const schedule::TimedPass& timed : passes) {
    pass.push_back(schedule::kNumPasses * timed.op.stage + static_cast<int>(timed.op.pass));
    micro_batch.push_back(timed.op.micro_batch);
    start.push_back(rounded(timed.start));
    duration.push_back(rounded(timed.end - timed.start));
  }
  return {{"pass", std::move(pass)},
          {"micro_batch", std::move(micro_batch)},
          {"start", std::move(start)},
          {"duration", std::move(duration)}};
}

/// What each stage keeps: from F to B, from F to W, from B to W. Whole numbers, scaled afterwards,
/// so that a thousand thirds add up.
Json memory_json(const PageSchedule& schedule) {
  const bool units = schedule.memory_measure == MemoryMeasure::kUnits;
  Json keeps = Json::array();
  for (const schedule::StageCost& stage : schedule.costs.stages) {
    keeps.push_back(units ? Json::array({0, 1, 0})
                          : Json::array({stage.forward_to_backward_input_bytes,
                                         stage.forward_to_backward_weight_bytes,
                                         stage.backward_input_to_backward_weight_bytes}));
  }
  const double stages_per_rank = static_cast<double>(schedule.costs.stages.size()) /
                                 static_cast<double>(schedule.timeline.ranks.size());
  return {{"unit", units ? "units" : "bytes"},
          {"keeps", std::move(keeps)},
          {"scale", units ? 1.0 / stages_per_rank : 1.0},
          {"limits", schedule.memory_limits}};
}

Json figures_json(const PageSchedule& schedule) {
  const schedule::Timeline& timeline = schedule.timeline;
  return {{"span", timeline.span},
          {"makespan", timeline.makespan},
          {"bubble", timeline.bubble_fraction},
          {"bubble_makespan", timeline.bubble_fraction_makespan},
          {"lower_bound", schedule.lower_bound ? Json(*schedule.lower_bound) : Json(nullptr)}};
}

Json schedule_json(const PageSchedule& schedule) {
  check(schedule);
  Json stage_chunks = Json::array();
  for (std::size_t stage = 0; stage < schedule.costs.stages.size(); ++stage) {
    stage_chunks.push_back(stage / schedule.timeline.ranks.size());
  }
  Json ranks = Json::array();
  for (const std::vector<schedule::TimedPass>& passes : schedule.timeline.ranks) {
    ranks.push_back(passes_json(passes));
  }
  return {{"title", schedule.title},
          {"notes", schedule.notes},
          {"figures", figures_json(schedule)},
          {"memory", memory_json(schedule)},
          {"stage_chunks", std::move(stage_chunks)},
          {"ranks", std::move(ranks)}};
}

Json table_json(const std::optional<PageTable>& table) {
  if (!table) return nullptr;
  return {{"columns", table->columns}, {"rows", table->rows}, {"notes", table->notes}};
}

/// JSON that may stand in a <script>: a title may hold "</script>", and only strings hold "<".
std::string embeddable(const Json& json) {
  const std::string text =
      json.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

}  // namespace

std::string render_timeline_page(const TimelinePage& page) {
  Json schedules = Json::array();
  for (const PageSchedule& schedule : page.schedules) schedules.push_back(schedule_json(schedule));
  const Json json = {{"title", page.title},
                     {"time_unit", page.time_unit},
                     {"table", table_json(page.table)},
                     {"schedules", std::move(schedules)}};
  std::string html(kTimelinePageText);
  html.replace(html.find(kPlaceOfSchedules), kPlaceOfSchedules.size(), embeddable(json));
  return html;
}

}  // namespace halfpipe::page
