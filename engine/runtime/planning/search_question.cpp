// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/search_question.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/config/memory_limit.h"
#include "engine/config/validate_config.h"
#include "engine/model/model_cost.h"
#include "engine/model/parameter.h"
#include "engine/model/stage.h"
#include "engine/optimizer/adamw.h"
#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/planning/stage_costs.h"
#include "engine/runtime/planning/stage_layout.h"
#include "engine/runtime/ranks/machine_memory.h"
#include "engine/runtime/ranks/mesh_of.h"
#include "engine/runtime/step/early_step.h"
#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "parallel/schedule/assign_saved.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::runtime {

namespace {

std::vector<schedule::Placement> all_placements(const config::RunConfig& config) {
  using schedule::Placement;
  using schedule::PlacementKind;
  const int p = config.parallel.pipeline;
  if (config.parallel.layers_per_stage) {
    const auto stages = static_cast<int>(config.parallel.layers_per_stage->size());
    std::vector<Placement> placements{Placement(PlacementKind::kZigzag, p, stages / p)};
    if (p > 1 && stages > p) {
      placements.emplace_back(PlacementKind::kInterleaved, p, stages / p);
    }
    return placements;
  }
  std::vector<Placement> placements{Placement(PlacementKind::kLinear, p, 1)};
  if (p == 1) return placements;
  // Though some stages may be empty then: that the others lie elsewhere may still gain something.
  placements.emplace_back(PlacementKind::kV, p, 2);
  placements.emplace_back(PlacementKind::kInterleaved, p, 2);
  // Embedding and head are work, too: stages with one of them need no block.
  constexpr int kManyChunks = 4;
  if (config.model.num_layers + 2 >= kManyChunks * p) {
    placements.emplace_back(PlacementKind::kZigzag, p, kManyChunks);
  }
  return placements;
}

/// Activation bytes on the fullest rank of 1F1B.
std::int64_t peak_of_1f1b(const config::RunConfig& config) {
  config::RunConfig plain = config;
  plain.parallel.layers_per_stage.reset();
  const int p = config.parallel.pipeline;
  const StageLayout layout = lay_out(plain, schedule::placement_for("1f1b", p, 1));
  const schedule::StageOrders orders =
      schedule::make_orders("1f1b", p, config.num_micro_batches(), 1, layout.costs);
  const std::vector<std::int64_t> peaks =
      schedule::simulate(orders, layout.costs).peak_activation_bytes;
  return *std::max_element(peaks.begin(), peaks.end());
}

/// [rank]: nine tenths of what there is. A tenth is kept for message buffers, scratch and whatever
/// else runs. How many buffers a rank needs is known only with its plan, and how much scratch only
/// with its stages and the device's kernels, so neither is counted here; from what GPUs have free,
/// scratch is taken off already.
std::vector<std::int64_t> shares_of_memory(const config::RunConfig& config) {
  const auto most_of = [](std::int64_t bytes) {
    constexpr double kShare = 0.9;
    return static_cast<std::int64_t>(kShare * static_cast<double>(bytes));
  };
  const auto num_pipeline_ranks = static_cast<std::size_t>(config.parallel.pipeline);
  if (is_modelled(config.device)) {
    return std::vector<std::int64_t>(num_pipeline_ranks,
                                     most_of(config.device.profile->memory_bytes));
  }
  if (config.device.kind == "cuda") {
    if (config.device.free_bytes.empty()) {
      throw ConfigError(
          "schedule.memory_limit is missing: a plan with device.kind cuda and schedule.name auto "
          "asks no GPU what it has free, as training does; name what the activations of a rank may "
          "take, as 40 GiB");
    }
    std::vector<std::int64_t> shares;
    for (const std::int64_t bytes : config.device.free_bytes) shares.push_back(most_of(bytes));
    return shares;
  }
  const int num_ranks = ranks_on_this_machine(mesh_of(config.parallel).num_ranks());
  return std::vector<std::int64_t>(num_pipeline_ranks, most_of(memory_of_machine()) / num_ranks);
}

/// Of one or of all ranks, bytes of activations, as `texts` say.
std::vector<std::int64_t> bytes_of(const config::RunConfig& config,
                                   const std::vector<std::string>& texts) {
  constexpr double kMost = 0x1p62;
  std::optional<double> peak;  // of 1F1B; not every measure needs it
  std::vector<std::int64_t> limits;
  for (const std::string& text : texts) {
    const std::optional<config::MemoryLimit> limit = config::parse_memory_limit(text);
    HALFPIPE_CHECK(limit, "a memory limit was not validated");
    double bytes = limit->amount;
    if (limit->measure != config::MemoryMeasure::kBytes) {
      if (!peak) peak = static_cast<double>(peak_of_1f1b(config));
      bytes *= *peak;
    }
    // The fullest rank of 1F1B holds as many units as there are ranks, or micro-batches.
    if (limit->measure == config::MemoryMeasure::kUnits) {
      bytes /= std::min(config.parallel.pipeline, config.num_micro_batches());
    }
    limits.push_back(static_cast<std::int64_t>(std::min(bytes, kMost)));
  }
  return limits;
}

/// [rank]
std::vector<std::int64_t> limits_for(const config::RunConfig& config) {
  const config::ScheduleConfig& given = config.schedule;
  if (!given.rank_memory_limits.empty()) return bytes_of(config, given.rank_memory_limits);
  if (limit_counts_residents(config)) return shares_of_memory(config);
  return std::vector<std::int64_t>(static_cast<std::size_t>(config.parallel.pipeline),
                                   bytes_of(config, {given.memory_limit}).front());
}

/// Parameters with their copies, gradients, two moments each and what steps overwrite, or this
/// replica's share of those.
std::int64_t resident_bytes(const config::RunConfig& config,
                            const std::vector<model::StageLayers>& layers) {
  model::ParameterSet parameters(tensor_shard_of(config.parallel));
  const std::vector<model::ParameterSpec> specs = model::all_parameters(config.model);
  for (const model::StageLayers& part : layers) {
    const model::Stage stage(config.model, specs, part, config.train.micro_batch_size, parameters);
  }
  // Each rank that holds a tied table holds the gradients of both its uses.
  model::Parameter* const table = parameters.find(model::kTokenEmbeddingName);
  if (config.model.tie_embeddings && table != nullptr) table->has_head_gradient = true;
  const model::ParameterBytes bytes = model::parameter_bytes(parameters.all(), config.model.dtype);
  const auto stepped = optimizer::all_elements(parameters.all());
  std::size_t moments = optimizer::moment_bytes(stepped, config.optimizer.moments);
  moments += early_step_bytes(config, stepped);
  const std::size_t sharers =
      config.optimizer.zero_stage == 0 ? 1 : static_cast<std::size_t>(config.parallel.data);
  return static_cast<std::int64_t>(bytes.values + bytes.copies + bytes.gradients +
                                   ceil_div(moments, sharers));
}

/// Tokens, targets or losses of all micro-batches of a step: each takes as much.
std::int64_t batch_bytes(const config::RunConfig& config) {
  const std::size_t tokens = static_cast<std::size_t>(config.train.micro_batch_size) *
                             static_cast<std::size_t>(config.num_micro_batches()) *
                             static_cast<std::size_t>(config.model.seq_len);
  return static_cast<std::int64_t>(padded_bytes(tokens * sizeof(std::int32_t)));
}

/// What `more` adds to the passes of `stage`; the bytes of `alone`.
schedule::StageCost difference(const schedule::StageCost& more,
                               const schedule::StageCost& stage,
                               schedule::StageCost alone) {
  // Sums differ in their last bits.
  const auto added = [](double with, double without) { return std::max(0.0, with - without); };
  alone.forward_seconds = added(more.forward_seconds, stage.forward_seconds);
  alone.backward_input_seconds = added(more.backward_input_seconds, stage.backward_input_seconds);
  alone.backward_weight_seconds =
      added(more.backward_weight_seconds, stage.backward_weight_seconds);
  return alone;
}

/// Layers cost what they add to a stage. Where a stage itself takes time (on modelled devices it
/// copies what it receives) no sum of layers is more than their stage takes: bounds stay bounds.
schedule::LayeredModel layers_of(const config::RunConfig& config, bool counts_residents) {
  const int L = config.model.num_layers;
  const model::StageLayers embedding{0, 0, 0, true, false};
  const model::StageLayers block{0, 0, 1, false, false};
  const model::StageLayers head{0, L, 0, false, true};
  const auto stage_of = [&](const model::StageLayers& layers) {
    return in_arena_bytes(stage_costs(config, {layers})).stages.front();
  };
  const auto residents_of = [&](const model::StageLayers& layers) {
    return counts_residents ? resident_bytes(config, {layers}) : 0;
  };
  const schedule::StageCost one_block = stage_of(block);
  const schedule::StageCost two_blocks = stage_of({0, 0, 2, false, false});
  const schedule::StageCost block_and_head = stage_of({0, L - 1, 1, false, true});
  schedule::LayeredModel model;
  model.embedding = {stage_of(embedding), residents_of(embedding)};
  model.blocks.assign(static_cast<std::size_t>(L),
                      {difference(two_blocks, one_block, one_block), residents_of(block)});
  model.head = {difference(block_and_head, one_block, stage_of(head)), residents_of(head)};
  if (counts_residents) {
    model.shared_resident_bytes = model.embedding.resident_bytes + model.head.resident_bytes -
                                  resident_bytes(config, {embedding, head});
    model.embedding.resident_bytes += batch_bytes(config);  // tokens
    model.head.resident_bytes += 2 * batch_bytes(config);   // targets and losses
  }
  return model;
}

}  // namespace

std::vector<schedule::Placement> searched_placements(const config::RunConfig& config) {
  std::vector<schedule::Placement> placements = all_placements(config);
  std::erase_if(placements, [&](const schedule::Placement& placement) {
    return !config::is_plannable(placement.num_stages(), config.num_micro_batches());
  });
  return placements;
}

bool limit_counts_residents(const config::RunConfig& config) {
  return config.schedule.memory_limit.empty() && config.schedule.rank_memory_limits.empty();
}

schedule::JointProblem joint_problem_of(const config::RunConfig& config) {
  schedule::JointProblem problem;
  problem.model = layers_of(config, limit_counts_residents(config));
  problem.placements = searched_placements(config);
  problem.num_micro_batches = config.num_micro_batches();
  if (is_modelled(config.device)) {
    add_links(*config.device.profile, mesh_of(config.parallel), problem.messages);
    problem.messages.message_bytes = model::message_bytes(
        config.model, config.train.micro_batch_size, tensor_shard_of(config.parallel));
  }
  problem.memory_limit = limits_for(config);
  problem.objective = objective_of(config);
  problem.blocks_per_stage = config.parallel.layers_per_stage;
  return problem;
}

schedule::Objective objective_of(const config::RunConfig& config) {
  return config.schedule.objective == "span" ? schedule::Objective::kSpan
                                             : schedule::Objective::kMakespan;
}

schedule::CostModel in_arena_bytes(schedule::CostModel costs) {
  for (schedule::StageCost& stage : costs.stages) {
    for (std::int64_t* bytes :
         {&stage.forward_to_backward_input_bytes, &stage.forward_to_backward_weight_bytes,
          &stage.backward_input_to_backward_weight_bytes}) {
      *bytes = schedule::arena_bytes_of(*bytes);
    }
  }
  return costs;
}

schedule::SearchBudget search_budget_of(const config::ScheduleConfig& config) {
  schedule::SearchBudget budget;
  budget.seconds = config.search_seconds;
  budget.evaluations = config.search_evaluations;
  budget.num_threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return budget;
}

}  // namespace halfpipe::runtime
