// SPDX-License-Identifier: Apache-2.0
// Schedules as one self-contained HTML page: a timeline and the memory over time for each, all on
// one time axis to zoom and drag, with details under the mouse. Needs no network.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::page {

/// What memory is counted in.
enum class MemoryMeasure : std::uint8_t {
  kUnits,  // a unit is one micro-batch on 1/p of the model, from its F to its W
  kBytes,  // by the lifetimes of the cost model
};

struct PageSchedule {
  std::string title;
  schedule::Timeline timeline;
  schedule::CostModel costs;  // of the timeline's stages; its lifetimes count for kBytes only
  MemoryMeasure memory_measure = MemoryMeasure::kUnits;
  std::vector<double> memory_limits = {};  // [rank] in the measure; empty: none
  std::optional<double> lower_bound = {};  // of the span, seconds
  std::vector<std::string> notes = {};     // a line each under the figures
};

/// Above the timelines: the first column holds names, the others figures.
struct PageTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  // [row][column]
  std::vector<std::string> notes;              // a line each under the table
};

struct TimelinePage {
  std::string title;
  std::vector<PageSchedule> schedules;  // in this order, under each other
  /// What the timelines count in where that is not seconds ("units of the times given").
  std::string time_unit = {};
  std::optional<PageTable> table = {};
};

/// The page's HTML. About 20 bytes for every pass: times are rounded to nine digits. Throws
/// ScheduleError when a schedule's costs or limits do not match its ranks.
[[nodiscard]] std::string render_timeline_page(const TimelinePage& page);

}  // namespace halfpipe::page
