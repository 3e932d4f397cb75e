// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/compact.h"

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <vector>

#include "parallel/schedule/pass_graph.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {
namespace {

struct PlacedPass {
  int slot;
  int rank;
  PassOp op;

  friend bool operator<(const PlacedPass& a, const PlacedPass& b) {
    return std::tie(a.slot, a.rank, a.op) < std::tie(b.slot, b.rank, b.op);
  }
};

class Compactor {
 public:
  Compactor(const StageOrders& orders, int max_in_flight)
      : orders_(orders),
        max_in_flight_(max_in_flight),
        num_stages_(orders.placement.num_stages()),
        slot_of_(num_stages_, orders.num_micro_batches, 0) {
    const Timeline timeline = simulate(orders, uniform_costs(num_stages_));
    const auto num_slots = static_cast<std::size_t>(timeline.makespan) + 1;
    busy_.assign(orders.ranks.size(), std::vector<char>(num_slots, 0));
    in_flight_.assign(orders.ranks.size(), std::vector<int>(num_slots, 0));
    for (std::size_t rank = 0; rank < timeline.ranks.size(); ++rank) {
      for (const TimedPass& pass : timeline.ranks[rank]) {
        const int slot = static_cast<int>(pass.start);
        passes_.push_back({slot, static_cast<int>(rank), pass.op});
        slot_of_[pass.op] = slot;
        busy_[rank][static_cast<std::size_t>(slot)] = 1;
      }
    }
    for (const PlacedPass& pass : passes_) {
      if (pass.op.pass != Pass::kForward) continue;
      const PassOp weight{Pass::kBackwardWeight, pass.op.stage, pass.op.micro_batch};
      add_in_flight(pass.rank, pass.slot, slot_of_[weight] + 1, 1);
    }
    std::sort(passes_.begin(), passes_.end());
  }

  StageOrders run() {
    const int warmup_end = slot_of_[{Pass::kBackwardInput, 0, 0}];
    const int cooldown_begin = slot_of_[{Pass::kForward, 0, orders_.num_micro_batches - 1}];
    for (PlacedPass& pass : passes_) {
      if (pass.slot < warmup_end || pass.slot > cooldown_begin) move_earlier(pass);
    }
    std::sort(passes_.begin(), passes_.end());
    StageOrders compacted{orders_.name, orders_.placement, orders_.num_micro_batches, {}};
    compacted.ranks.resize(orders_.ranks.size());
    for (const PlacedPass& pass : passes_) {
      compacted.ranks[static_cast<std::size_t>(pass.rank)].push_back(pass.op);
    }
    return compacted;
  }

 private:
  void add_in_flight(int rank, int begin, int end, int count) {
    std::vector<int>& row = in_flight_[static_cast<std::size_t>(rank)];
    for (int slot = begin; slot < end; ++slot) row[static_cast<std::size_t>(slot)] += count;
  }

  int earliest_slot(const PassOp& op) const {
    int earliest = 0;
    if (const auto input = own_input(op)) earliest = slot_of_[*input] + 1;
    if (const auto input = neighbour_input(op, num_stages_)) {
      earliest = std::max(earliest, slot_of_[*input] + 1);
    }
    if (op.micro_batch > 0) {
      earliest = std::max(earliest, slot_of_[{op.pass, op.stage, op.micro_batch - 1}] + 1);
    }
    return earliest;
  }

  /// First slot from which one more stage activation may live until `end`.
  int earliest_with_memory(int rank, int begin, int end) const {
    const std::vector<int>& row = in_flight_[static_cast<std::size_t>(rank)];
    int slot = end;
    while (slot > begin && row[static_cast<std::size_t>(slot - 1)] < max_in_flight_) --slot;
    return slot;
  }

  void move_earlier(PlacedPass& pass) {
    int begin = earliest_slot(pass.op);
    if (pass.op.pass == Pass::kForward) begin = earliest_with_memory(pass.rank, begin, pass.slot);
    std::vector<char>& busy = busy_[static_cast<std::size_t>(pass.rank)];
    int target = begin;
    while (target < pass.slot && busy[static_cast<std::size_t>(target)] != 0) ++target;
    if (target >= pass.slot) return;
    busy[static_cast<std::size_t>(pass.slot)] = 0;
    busy[static_cast<std::size_t>(target)] = 1;
    if (pass.op.pass == Pass::kForward) add_in_flight(pass.rank, target, pass.slot, 1);
    if (pass.op.pass == Pass::kBackwardWeight) {
      add_in_flight(pass.rank, target + 1, pass.slot + 1, -1);
    }
    pass.slot = target;
    slot_of_[pass.op] = target;
  }

  const StageOrders& orders_;
  int max_in_flight_;
  int num_stages_;
  PassTable<int> slot_of_;
  std::vector<PlacedPass> passes_;           // sorted by slot
  std::vector<std::vector<char>> busy_;      // [rank][slot]
  std::vector<std::vector<int>> in_flight_;  // [rank][slot] stage activations
};

}  // namespace

StageOrders compact(const StageOrders& orders, int max_in_flight) {
  return Compactor(orders, max_in_flight).run();
}

}  // namespace halfpipe::schedule
