// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/render_ascii.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

char letter_of(const PassOp& op, int num_ranks) {
  const bool first_chunk = op.stage < num_ranks;
  switch (op.pass) {
    case Pass::kForward:
      return first_chunk ? 'F' : 'f';
    case Pass::kBackwardInput:
      return first_chunk ? 'B' : 'b';
    case Pass::kBackwardWeight:
      return first_chunk ? 'W' : 'w';
  }
  return '?';
}

/// The letter and as much as fits: the whole number or none of it, so that 12 is never read as 1.
std::string label_of(const PassOp& op, int num_ranks, std::size_t width) {
  std::string label(1, letter_of(op, num_ranks));
  const std::string number = std::to_string(op.micro_batch);
  if (label.size() + number.size() <= width) label += number;
  return label;
}

double last_end(const Timeline& timeline) {
  double end = 0.0;
  for (const std::vector<TimedPass>& rank : timeline.ranks) {
    for (const TimedPass& pass : rank) end = std::max(end, pass.end);
  }
  return end;
}

}  // namespace

std::string render_ascii(const Timeline& timeline, double seconds_per_column) {
  if (!std::isfinite(seconds_per_column) || seconds_per_column <= 0.0) {
    throw ScheduleError("a column of a drawn timeline must stand for a positive time");
  }
  const auto column_of = [&](double seconds) {
    return static_cast<std::size_t>(std::max(0L, std::lround(seconds / seconds_per_column)));
  };
  const auto num_ranks = static_cast<int>(timeline.ranks.size());
  const std::size_t name_width = std::to_string(std::max(0, num_ranks - 1)).size();
  std::string text;
  for (std::size_t r = 0; r < timeline.ranks.size(); ++r) {
    const std::string number = std::to_string(r);
    std::string line(column_of(last_end(timeline)), '.');
    for (const TimedPass& pass : timeline.ranks[r]) {
      const std::size_t first = column_of(pass.start);
      const std::size_t width = column_of(pass.end) - first;
      if (width == 0) continue;
      std::string label = label_of(pass.op, num_ranks, width);
      label.resize(width, ' ');
      line.replace(first, width, label);
    }
    text += "rank " + std::string(name_width - number.size(), ' ');
    text.append(number).append(" |").append(line).append("|\n");
  }
  return text;
}

double seconds_per_column_for(const Timeline& timeline, int num_columns) {
  const double end = last_end(timeline);
  if (num_columns < 1 || end <= 0.0) {
    throw ScheduleError("a timeline can be drawn only when it takes time and has columns");
  }
  return end / num_columns;
}

bool fits_as_text(const Timeline& timeline, int num_columns) {
  constexpr std::size_t kMostRanks = 64;
  constexpr double kMostPassesPerColumn = 2.5;
  return timeline.ranks.size() <= kMostRanks &&
         std::ranges::all_of(timeline.ranks, [&](const std::vector<TimedPass>& passes) {
           return static_cast<double>(passes.size()) <= kMostPassesPerColumn * num_columns;
         });
}

}  // namespace halfpipe::schedule
