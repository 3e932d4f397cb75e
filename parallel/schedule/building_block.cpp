// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/building_block.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "parallel/schedule/pass_graph.h"

namespace halfpipe::schedule {
namespace {

constexpr int kMissing = -1;

/// Start slot of every (pass, stage); kMissing where the block has none.
PassTable<int> start_slots(const BuildingBlock& block) {
  PassTable<int> starts(block.placement.num_stages(), /*num_micro_batches=*/1, kMissing);
  for (const Slot& slot : block.slots) starts[{slot.pass, slot.stage, 0}] = slot.start;
  return starts;
}

/// The last pass of `stage` in the block, which ends the life of its activations.
PassOp last_pass(const PassTable<int>& starts, int stage) {
  const PassOp weight{Pass::kBackwardWeight, stage, 0};
  return starts[weight] == kMissing ? PassOp{Pass::kBackwardInput, stage, 0} : weight;
}

int lifespan(const PassTable<int>& starts, int stage) {
  return starts[last_pass(starts, stage)] + 1 - starts[{Pass::kForward, stage, 0}];
}

int predicted_peak(const BuildingBlock& block, const PassTable<int>& starts, int rank) {
  std::vector<int> in_flight(static_cast<std::size_t>(block.interval), 0);  // by slot modulo that
  for (int chunk = 0; chunk < block.placement.num_chunks(); ++chunk) {
    const int stage = block.placement.stage_of(rank, chunk);
    const int first = starts[{Pass::kForward, stage, 0}];
    const int slots = lifespan(starts, stage);
    for (int& count : in_flight) count += slots / block.interval;
    for (int i = 0; i < slots % block.interval; ++i) {
      ++in_flight[static_cast<std::size_t>((first + i) % block.interval)];
    }
  }
  return *std::max_element(in_flight.begin(), in_flight.end());
}

std::string describe(const Slot& slot) {
  constexpr std::array<const char*, kNumPasses> kLetters = {"F", "B", "W"};
  return std::string(kLetters[static_cast<std::size_t>(slot.pass)]) + " of stage " +
         std::to_string(slot.stage) + " (slot " + std::to_string(slot.start) + ")";
}

std::optional<std::string> pass_count_defect(const BuildingBlock& block) {
  PassTable<int> counts(block.placement.num_stages(), 1, 0);
  int num_weight_passes = 0;
  for (const Slot& slot : block.slots) {
    if (slot.stage < 0 || slot.stage >= block.placement.num_stages() || slot.start < 0) {
      return describe(slot) + " is outside the block";
    }
    if (++counts[{slot.pass, slot.stage, 0}] > 1) return describe(slot) + " is there twice";
    num_weight_passes += slot.pass == Pass::kBackwardWeight ? 1 : 0;
  }
  const int passes_per_stage = num_weight_passes > 0 ? kNumPasses : kNumPasses - 1;
  if (static_cast<int>(block.slots.size()) != passes_per_stage * block.placement.num_stages()) {
    return "a stage lacks a pass";
  }
  return std::nullopt;
}

std::optional<std::string> dependency_defect(const BuildingBlock& block) {
  const PassTable<int> starts = start_slots(block);
  for (const Slot& slot : block.slots) {
    const PassOp op{slot.pass, slot.stage, 0};
    const std::optional<PassOp> own = own_input(op);
    const std::optional<PassOp> other = neighbour_input(op, block.placement.num_stages());
    for (const std::optional<PassOp>& input : {own, other}) {
      if (input && starts[*input] >= slot.start) {
        return describe(slot) + " starts before its input, " +
               describe({input->stage, input->pass, starts[*input]}) + ", has ended";
      }
    }
  }
  return std::nullopt;
}

std::optional<std::string> collision_defect(const BuildingBlock& block) {
  const auto interval = static_cast<std::size_t>(block.interval);
  const auto num_ranks = static_cast<std::size_t>(block.placement.num_pipeline_ranks());
  std::vector<const Slot*> taken(num_ranks * interval, nullptr);
  for (const Slot& slot : block.slots) {
    const auto rank = static_cast<std::size_t>(block.placement.rank_of(slot.stage));
    const Slot*& owner =
        taken[rank * interval + static_cast<std::size_t>(slot.start % block.interval)];
    if (owner != nullptr) {
      return describe(slot) + " and " + describe(*owner) + " of rank " + std::to_string(rank) +
             " meet modulo the interval " + std::to_string(block.interval);
    }
    owner = &slot;
  }
  return std::nullopt;
}

}  // namespace

int lifespan(const BuildingBlock& block, int pipeline_rank) {
  const PassTable<int> starts = start_slots(block);
  int slots = 0;
  for (int chunk = 0; chunk < block.placement.num_chunks(); ++chunk) {
    slots += lifespan(starts, block.placement.stage_of(pipeline_rank, chunk));
  }
  return slots;
}

int predicted_peak(const BuildingBlock& block, int pipeline_rank) {
  return predicted_peak(block, start_slots(block), pipeline_rank);
}

int predicted_peak(const BuildingBlock& block) {
  const PassTable<int> starts = start_slots(block);
  int peak = 0;
  for (int rank = 0; rank < block.placement.num_pipeline_ranks(); ++rank) {
    peak = std::max(peak, predicted_peak(block, starts, rank));
  }
  return peak;
}

std::optional<std::string> first_defect(const BuildingBlock& block) {
  if (block.interval < 1) return "the interval is " + std::to_string(block.interval);
  if (auto defect = pass_count_defect(block)) return defect;
  if (auto defect = dependency_defect(block)) return defect;
  return collision_defect(block);
}

BuildingBlock with_weight_passes(BuildingBlock block) {
  const auto interval = static_cast<std::size_t>(block.interval);
  const auto num_ranks = static_cast<std::size_t>(block.placement.num_pipeline_ranks());
  std::vector<char> taken(num_ranks * interval, 0);
  const auto owner = [&](int stage, int start) -> char& {
    const auto rank = static_cast<std::size_t>(block.placement.rank_of(stage));
    return taken[rank * interval + static_cast<std::size_t>(start % block.interval)];
  };
  std::vector<Slot> backwards;
  for (const Slot& slot : block.slots) {
    owner(slot.stage, slot.start) = 1;
    if (slot.pass == Pass::kBackwardInput) backwards.push_back(slot);
  }
  std::sort(backwards.begin(), backwards.end(),
            [](const Slot& a, const Slot& b) { return a.start < b.start; });
  for (const Slot& backward : backwards) {
    int start = backward.start + 1;
    while (owner(backward.stage, start) != 0) ++start;
    owner(backward.stage, start) = 1;
    block.slots.push_back({backward.stage, Pass::kBackwardWeight, start});
  }
  return block;
}

StageOrders unroll(const BuildingBlock& block, int num_micro_batches) {
  StageOrders orders{block.name, block.placement, num_micro_batches, {}};
  const auto num_ranks = static_cast<std::size_t>(block.placement.num_pipeline_ranks());
  std::vector<std::vector<std::pair<int, PassOp>>> timed(num_ranks);
  for (int micro_batch = 0; micro_batch < num_micro_batches; ++micro_batch) {
    for (const Slot& slot : block.slots) {
      const auto rank = static_cast<std::size_t>(block.placement.rank_of(slot.stage));
      timed[rank].push_back(
          {slot.start + micro_batch * block.interval, PassOp{slot.pass, slot.stage, micro_batch}});
    }
  }
  for (std::vector<std::pair<int, PassOp>>& passes : timed) {
    std::sort(passes.begin(), passes.end());
    std::vector<PassOp>& ops = orders.ranks.emplace_back();
    for (const auto& [start, op] : passes) ops.push_back(op);
  }
  return orders;
}

}  // namespace halfpipe::schedule
