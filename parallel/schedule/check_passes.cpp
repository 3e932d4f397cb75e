// SPDX-License-Identifier: Apache-2.0
// Rules on indices and on the passes.
#include <cstddef>
#include <vector>

#include "parallel/schedule/describe_instruction.h"
#include "parallel/schedule/validation_rules.h"

namespace halfpipe::schedule {
namespace {

bool within(int value, std::size_t count) {
  return value >= 0 && static_cast<std::size_t>(value) < count;
}

bool none_or_within(int value, std::size_t count) {
  return value == kNone || within(value, count);
}

/// Empty when all indices of the instruction are good.
std::string wrong_index(const Plan& plan, const RankPlan& rank, const Instruction& instruction) {
  const auto num_buffers = static_cast<std::size_t>(rank.num_message_buffers);
  if (!none_or_within(instruction.input_buffer, num_buffers) ||
      !none_or_within(instruction.output_buffer, num_buffers)) {
    return "uses a message buffer that does not exist";
  }
  if (!pass_of(instruction)) {
    return within(instruction.message, plan.messages.size())
               ? ""
               : "names a message that does not exist";
  }
  if (!within(instruction.stage, static_cast<std::size_t>(plan.placement.num_stages())) ||
      !within(instruction.micro_batch, static_cast<std::size_t>(plan.num_micro_batches))) {
    return "names a stage or micro-batch that does not exist";
  }
  if (!within(instruction.saved_slot, rank.saved.size())) {
    return "names a saved slot that does not exist";
  }
  return "";
}

constexpr const char* name_of(Pass pass) {
  switch (pass) {
    case Pass::kForward:
      return "forward";
    case Pass::kBackwardInput:
      return "backward_input";
    case Pass::kBackwardWeight:
      return "backward_weight";
  }
  return "pass";
}

/// How many micro-batches each (stage, pass) has done. Micro-batch order makes one counter enough.
class PassCounter {
 public:
  explicit PassCounter(const Plan& plan)
      : plan_(plan),
        num_done_(static_cast<std::size_t>(plan.placement.num_stages() * kNumPasses), 0) {}

  Violation visit(int rank, int index) {
    const Instruction& instruction =
        plan_.ranks[static_cast<std::size_t>(rank)].instructions[static_cast<std::size_t>(index)];
    const auto op = pass_of(instruction);
    if (!op) return std::nullopt;
    const auto here = [&] { return describe_at(plan_, rank, index); };
    const int host = plan_.placement.rank_of(op->stage);
    if (host != rank) return here() + ": stage is hosted by rank " + std::to_string(host);
    if (instruction.chunk != plan_.placement.chunk_of(op->stage)) {
      return here() + ": chunk " + std::to_string(instruction.chunk) + " is not the stage's";
    }
    if (plan_.forward_only && op->pass != Pass::kForward) {
      return here() + ": a forward-only plan has no backward passes";
    }
    int& done = num_done(op->stage, op->pass);
    if (op->micro_batch < done) return here() + ": the pass runs a second time";
    if (op->micro_batch > done) {
      return here() + ": out of micro-batch order, micro-batch " + std::to_string(done) +
             " comes next for this stage and pass";
    }
    if (op->pass != Pass::kForward) {
      const auto before = static_cast<Pass>(static_cast<int>(op->pass) - 1);
      if (num_done(op->stage, before) <= op->micro_batch) {
        return here() + ": runs before the " + name_of(before) + " of the same micro-batch";
      }
    }
    ++done;
    return std::nullopt;
  }

  Violation missing() {
    const int num_passes = plan_.forward_only ? 1 : kNumPasses;
    for (int stage = 0; stage < plan_.placement.num_stages(); ++stage) {
      for (int i = 0; i < num_passes; ++i) {
        const auto pass = static_cast<Pass>(i);
        const int done = num_done(stage, pass);
        if (done == plan_.num_micro_batches) continue;
        return "rank " + std::to_string(plan_.placement.rank_of(stage)) + " never runs " +
               name_of(pass) + " of stage " + std::to_string(stage) + ", micro-batch " +
               std::to_string(done);
      }
    }
    return std::nullopt;
  }

 private:
  int& num_done(int stage, Pass pass) {
    return num_done_[static_cast<std::size_t>(stage) * kNumPasses + static_cast<std::size_t>(pass)];
  }

  const Plan& plan_;
  std::vector<int> num_done_;  // [stage * kNumPasses + pass]
};

}  // namespace

Violation check_ranges(const Plan& plan, const CostModel& costs) {
  const auto num_ranks = static_cast<std::size_t>(plan.placement.num_pipeline_ranks());
  if (plan.ranks.size() != num_ranks) {
    return "the plan has " + std::to_string(plan.ranks.size()) + " programs for " +
           std::to_string(num_ranks) + " ranks";
  }
  if (plan.num_micro_batches < 1) return "the plan has no micro-batches";
  if (costs.stages.size() != static_cast<std::size_t>(plan.placement.num_stages())) {
    return "the cost model has " + std::to_string(costs.stages.size()) + " stages, the plan " +
           std::to_string(plan.placement.num_stages());
  }
  for (std::size_t r = 0; r < num_ranks; ++r) {
    const RankPlan& rank = plan.ranks[r];
    for (std::size_t i = 0; i < rank.instructions.size(); ++i) {
      const Instruction& instruction = rank.instructions[i];
      const std::string wrong = wrong_index(plan, rank, instruction);
      if (wrong.empty()) continue;
      return "rank " + std::to_string(r) + ", instruction " + std::to_string(i) + " (" +
             name_of(instruction.kind) + "): " + wrong;
    }
  }
  return std::nullopt;
}

Violation check_passes(const Plan& plan) {
  PassCounter counter(plan);
  for (std::size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    for (std::size_t i = 0; i < plan.ranks[rank].instructions.size(); ++i) {
      if (auto violation = counter.visit(static_cast<int>(rank), static_cast<int>(i))) {
        return violation;
      }
    }
  }
  return counter.missing();
}

}  // namespace halfpipe::schedule
