// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/schedule_json.h"

#include <nlohmann/json.hpp>

namespace halfpipe::tools {

namespace {

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

}  // namespace

std::string schedule_json(const MadeSchedule& made) {
  const schedule::StageOrders& orders = made.orders;
  const schedule::Timeline& timeline = made.timeline;
  const schedule::Placement& placement = orders.placement;
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (std::size_t rank = 0; rank < timeline.ranks.size(); ++rank) {
    for (const schedule::TimedPass& pass : timeline.ranks[rank]) {
      rows.push_back({{"device", rank},
                      {"op", letter_of(pass.op.pass)},
                      {"stage", pass.op.stage},
                      {"chunk", placement.chunk_of(pass.op.stage)},
                      {"microbatch", pass.op.micro_batch},
                      {"start", pass.start},
                      {"end", pass.end}});
    }
  }
  nlohmann::ordered_json json = {{"name", orders.name},
                                 {"p", placement.num_pipeline_ranks()},
                                 {"m", orders.num_micro_batches},
                                 {"layout", layout_of(placement.kind())},
                                 {"comm", made.costs.message_seconds},
                                 {"span", timeline.span},
                                 {"makespan", timeline.makespan},
                                 {"bubble_fraction", timeline.bubble_fraction},
                                 {"bubble_fraction_makespan", timeline.bubble_fraction_makespan},
                                 {"peak_memory", timeline.peak_units}};
  if (made.search) {
    const bool span = made.search->objective == schedule::Objective::kSpan;
    if (made.search->memory_limit) json["memory_limit"] = *made.search->memory_limit;
    if (made.search->textbook_cost) {
      json[span ? "textbook_span" : "textbook_makespan"] = *made.search->textbook_cost;
    }
    json[span ? "lower_bound_span" : "lower_bound_makespan"] = made.search->lower_bound;
    json["search_seconds"] = made.search->seconds;
  }
  json["rows"] = std::move(rows);
  return json.dump() + "\n";
}

}  // namespace halfpipe::tools
