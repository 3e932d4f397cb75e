// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/schedule_json.h"

#include <fmt/format.h>

#include <cstddef>
#include <iterator>
#include <nlohmann/json.hpp>

namespace halfpipe::tools {

const char* layout_of(schedule::PlacementKind kind) {
  switch (kind) {
    case schedule::PlacementKind::kLinear:
      return "linear";
    case schedule::PlacementKind::kInterleaved:
      return "loop";
    case schedule::PlacementKind::kV:
      return "v";
    case schedule::PlacementKind::kZigzag:
      return "zigzag";
  }
  return "";
}

namespace {

const char* letter_of(schedule::Pass pass) {
  switch (pass) {
    case schedule::Pass::kForward:
      return "F";
    case schedule::Pass::kBackwardInput:
      return "B";
    case schedule::Pass::kBackwardWeight:
      return "W";
  }
  return "";
}

nlohmann::ordered_json figures_of(const MadeSchedule& made) {
  const schedule::Timeline& timeline = made.timeline;
  const schedule::Placement& placement = made.orders.placement;
  nlohmann::ordered_json json = {
      {"name", made.orders.name},
      {"p", placement.num_pipeline_ranks()},
      {"m", made.orders.num_micro_batches},
      {"layout", layout_of(placement.kind())},
      {"comm", made.costs.links.empty() ? nlohmann::ordered_json(made.costs.message_seconds)
                                        : nlohmann::ordered_json(nullptr)},
      {"span", timeline.span},
      {"makespan", timeline.makespan},
      {"bubble_fraction", timeline.bubble_fraction},
      {"bubble_fraction_makespan", timeline.bubble_fraction_makespan},
      {"peak_memory", peak_units(made)}};
  if (made.search && made.search->memory_limit.size() == 1) {
    json["memory_limit"] = made.search->memory_limit.front();
  } else if (made.search && !made.search->memory_limit.empty()) {
    json["memory_limit"] = made.search->memory_limit;
  }
  if (!made.bounds) return json;
  const bool span = made.bounds->objective == schedule::Objective::kSpan;
  if (made.search && made.search->textbook_cost) {
    json[span ? "textbook_span" : "textbook_makespan"] = *made.search->textbook_cost;
  }
  json["lower_bound_span"] = made.bounds->of_span;
  if (!span) json["lower_bound_makespan"] = made.bounds->of_objective.seconds;
  json["search_seconds"] = made.search ? made.search->seconds : 0.0;
  return json;
}

/// As text at once: a json object for each of millions of passes would take gigabytes.
std::string rows_of(const MadeSchedule& made) {
  const schedule::Placement& placement = made.orders.placement;
  std::string rows;
  for (std::size_t rank = 0; rank < made.timeline.ranks.size(); ++rank) {
    for (const schedule::TimedPass& pass : made.timeline.ranks[rank]) {
      fmt::format_to(std::back_inserter(rows),
                     R"({}{{"device":{},"op":"{}","stage":{},"chunk":{},"microbatch":{},)"
                     R"("start":{},"end":{}}})",
                     rows.empty() ? "" : ",", rank, letter_of(pass.op.pass), pass.op.stage,
                     placement.chunk_of(pass.op.stage), pass.op.micro_batch, pass.start, pass.end);
    }
  }
  return rows;
}

}  // namespace

std::string schedule_json(const MadeSchedule& made) {
  std::string json = figures_of(made).dump();
  json.pop_back();  // the brace that ends it
  return json + ",\"rows\":[" + rows_of(made) + "]}\n";
}

}  // namespace halfpipe::tools
