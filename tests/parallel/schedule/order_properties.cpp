// SPDX-License-Identifier: Apache-2.0
#include "order_properties.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>

namespace halfpipe::schedule {
namespace {

std::string text_of(const PassOp& op) {
  constexpr std::string_view kLetters = "FBW";
  return kLetters[static_cast<std::size_t>(op.pass)] + std::to_string(op.micro_batch) +
         " of stage " + std::to_string(op.stage);
}

}  // namespace

std::string first_order_violation(const StageOrders& orders) {
  std::map<int, std::array<int, kNumPasses>> done;  // stage -> micro-batches that ran F, B, W
  for (std::size_t rank = 0; rank < orders.ranks.size(); ++rank) {
    for (const PassOp& op : orders.ranks[rank]) {
      if (orders.placement.rank_of(op.stage) != static_cast<int>(rank)) {
        return text_of(op) + " is on rank " + std::to_string(rank);
      }
      std::array<int, kNumPasses>& counts = done[op.stage];
      const auto pass = static_cast<std::size_t>(op.pass);
      if (counts[pass] != op.micro_batch) return text_of(op) + " is out of micro-batch order";
      ++counts[pass];
      if (pass > 0 && counts[pass] > counts[pass - 1]) return text_of(op) + " is too early";
    }
  }
  const int m = orders.num_micro_batches;
  for (int stage = 0; stage < orders.placement.num_stages(); ++stage) {
    if (done[stage] != std::array<int, kNumPasses>{m, m, m}) {
      return "stage " + std::to_string(stage) + " lacks passes";
    }
  }
  return "";
}

std::string first_time_violation(const StageOrders& orders,
                                 const Timeline& timeline,
                                 const CostModel& costs) {
  constexpr double kRounding = 1e-9;  // sums of a few hundred times of order 1
  std::map<PassOp, double> ends;
  for (const std::vector<TimedPass>& passes : timeline.ranks) {
    for (const TimedPass& pass : passes) ends[pass.op] = pass.end;
  }
  const auto arrival = [&](const PassOp& from, const PassOp& to) {
    const bool same = orders.placement.rank_of(from.stage) == orders.placement.rank_of(to.stage);
    return ends.at(from) + (same ? 0.0 : costs.message_seconds);
  };
  for (const std::vector<TimedPass>& passes : timeline.ranks) {
    double rank_free = 0.0;
    for (const auto& [op, start, end] : passes) {
      double ready = rank_free;
      if (op.pass == Pass::kForward && op.stage > 0) {
        ready = std::max(ready, arrival({op.pass, op.stage - 1, op.micro_batch}, op));
      }
      if (op.pass == Pass::kBackwardInput && op.stage + 1 < orders.placement.num_stages()) {
        ready = std::max(ready, arrival({op.pass, op.stage + 1, op.micro_batch}, op));
      }
      if (op.pass == Pass::kBackwardInput) {
        ready = std::max(ready, ends.at({Pass::kForward, op.stage, op.micro_batch}));
      }
      if (op.pass == Pass::kBackwardWeight) {
        ready = std::max(ready, ends.at({Pass::kBackwardInput, op.stage, op.micro_batch}));
      }
      if (start < ready - kRounding) return text_of(op) + " starts before it can";
      if (start > ready + kRounding) return text_of(op) + " starts later than it could";
      const double seconds = costs.stages[static_cast<std::size_t>(op.stage)].seconds(op.pass);
      if (end < start + seconds - kRounding) return text_of(op) + " ends too early";
      rank_free = end;
    }
  }
  return "";
}

double highest_peak_units(const Timeline& timeline) {
  return *std::max_element(timeline.peak_units.begin(), timeline.peak_units.end());
}

std::string order_text(const StageOrders& orders) {
  constexpr std::string_view kLetters = "FBW";
  std::string text;
  for (const std::vector<PassOp>& ops : orders.ranks) {
    std::string line;
    for (const PassOp& op : ops) {
      const char letter = kLetters[static_cast<std::size_t>(op.pass)];
      const bool first_chunk = orders.placement.chunk_of(op.stage) == 0;
      line += line.empty() ? "" : " ";
      line += first_chunk ? letter : static_cast<char>(std::tolower(letter));
      line += std::to_string(op.micro_batch);
    }
    text += line + "\n";
  }
  return text;
}

CostModel uneven_costs(int num_stages) {
  CostModel costs;
  for (int stage = 0; stage < num_stages; ++stage) {
    StageCost cost;
    cost.forward_seconds = 1.0 + 0.3 * (stage % 3);
    cost.backward_input_seconds = 1.2 + 0.1 * (stage % 4);
    cost.backward_weight_seconds = 0.7 + 0.2 * (stage % 2);
    costs.stages.push_back(cost);
  }
  costs.message_seconds = 0.15;
  return costs;
}

}  // namespace halfpipe::schedule
