// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/catalogue.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

#include "parallel/schedule/block_schedule.h"
#include "parallel/schedule/blocks.h"
#include "parallel/schedule/gpipe.h"
#include "parallel/schedule/interleaved.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/simulate.h"
#include "parallel/schedule/v_zb.h"
#include "parallel/schedule/zero_bubble.h"

namespace halfpipe::schedule {
namespace {

// Published for m >= 2p by Qi et al. 2024 (arXiv:2405.15362) and their implementation; two stage
// activations are one unit.
BlockGoal v_min_goal(int p) {
  return {2 * ((p + 4) / 3), p % 3 == 0 ? 4 * p - 7 : 4 * p - 5};
}
BlockGoal v_half_goal(int p) {
  return {2 * ((p + 2) / 2), p % 2 == 0 ? 3 * p - 7 : 3 * p - 4};
}

// What our own blocks reach for m >= 2p and p up to 64. The slots that more rounds would save for
// many ranks, under 2% of the idle ones, are not worth their time.
BlockGoal one_f_one_b_v_goal(int p) {
  return {2 * (2 * p / 3 + 1), 25 * (p - 1) / 8};
}
BlockGoal w4_goal(int p) {  // V-Half's memory; four stage activations are one unit
  constexpr std::array<int, 4> kByRemainder = {20, 15, 20, 13};
  const int fewest = (9 * p - kByRemainder[static_cast<std::size_t>(p % 4)]) / 2;
  return {4 * ((p + 2) / 2), fewest + p / 16};
}

struct Request {
  int p;
  int num_micro_batches;
  int num_chunks;
  const CostModel& costs;
};

struct Entry {
  std::string_view name;
  PlacementKind placement;
  int num_chunks;
  StageOrders (*make)(const Request&);
  bool is_made_for_equal_costs = false;
};

// Memory limits are in stage activations per rank; a V rank holds two of them per unit. Sources are
// beside the functions.
constexpr int kAsAsked = 0;  // num_chunks is the caller's
constexpr std::array<Entry, 10> kCatalogue = {{
    {"gpipe", PlacementKind::kLinear, 1,
     [](const Request& r) { return gpipe_orders(r.p, r.num_micro_batches); }},
    {"1f1b", PlacementKind::kLinear, 1,
     [](const Request& r) { return unroll(one_f_one_b_block(r.p), r.num_micro_batches); }},
    {"1f1b-v", PlacementKind::kV, 2,
     [](const Request& r) {
       return block_schedule(one_f_one_b_v_block(r.p), r.num_micro_batches,
                             one_f_one_b_v_goal(r.p));
     },
     true},
    {"interleaved", PlacementKind::kInterleaved, kAsAsked,
     [](const Request& r) { return interleaved_orders(r.p, r.num_micro_batches, r.num_chunks); }},
    {"zb-1p", PlacementKind::kLinear, 1,
     [](const Request& r) {
       return zero_bubble_orders("zb-1p", r.p, r.num_micro_batches, r.costs, r.p);
     }},
    {"zb-2p", PlacementKind::kLinear, 1,
     [](const Request& r) {
       return zero_bubble_orders("zb-2p", r.p, r.num_micro_batches, r.costs, 2 * r.p);
     }},
    {"v-min", PlacementKind::kV, 2,
     [](const Request& r) {
       return block_schedule(v_min_block(r.p), r.num_micro_batches, v_min_goal(r.p));
     },
     true},
    {"v-half", PlacementKind::kV, 2,
     [](const Request& r) {
       return block_schedule(v_half_block(r.p), r.num_micro_batches, v_half_goal(r.p));
     },
     true},
    {"v-zb", PlacementKind::kV, 2,
     [](const Request& r) { return v_zb_orders(r.p, r.num_micro_batches, r.costs); }},
    {"w4", PlacementKind::kZigzag, 4,
     [](const Request& r) {
       return block_schedule(w4_block(r.p), r.num_micro_batches, w4_goal(r.p));
     },
     true},
}};

constexpr auto kNames = [] {
  std::array<std::string_view, kCatalogue.size()> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kCatalogue[i].name;
  return names;
}();

const Entry& find_entry(std::string_view name) {
  for (const Entry& entry : kCatalogue) {
    if (entry.name == name) return entry;
  }
  std::string known;
  for (const Entry& entry : kCatalogue) {
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  throw ScheduleError("there is no schedule '" + std::string(name) + "'; known ones: " + known);
}

}  // namespace

std::span<const std::string_view> schedule_names() {
  return kNames;
}

Placement placement_for(std::string_view name, int num_pipeline_ranks, int num_chunks) {
  const Entry& entry = find_entry(name);
  return Placement(entry.placement, num_pipeline_ranks,
                   entry.num_chunks == kAsAsked ? num_chunks : entry.num_chunks);
}

bool is_made_for_equal_costs(std::string_view name) {
  return std::ranges::any_of(kCatalogue, [&](const Entry& entry) {
    return entry.name == name && entry.is_made_for_equal_costs;
  });
}

StageOrders make_orders(std::string_view name,
                        int num_pipeline_ranks,
                        int num_micro_batches,
                        int num_chunks,
                        const CostModel& costs) {
  const Placement placement = placement_for(name, num_pipeline_ranks, num_chunks);
  const std::string schedule = "the schedule '" + std::string(name) + "'";
  if (num_micro_batches < 1) {
    throw ScheduleError(schedule + " needs at least one micro-batch, not " +
                        std::to_string(num_micro_batches));
  }
  CostModel known_costs = costs;
  if (known_costs.stages.empty()) known_costs.stages = uniform_costs(placement.num_stages()).stages;
  if (known_costs.stages.size() != static_cast<std::size_t>(placement.num_stages())) {
    throw ScheduleError(schedule + " has " + std::to_string(placement.num_stages()) +
                        " stages, the cost model has " + std::to_string(costs.stages.size()));
  }
  return find_entry(name).make(
      {num_pipeline_ranks, num_micro_batches, placement.num_chunks(), known_costs});
}

}  // namespace halfpipe::schedule
