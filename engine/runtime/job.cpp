// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>

#include "engine/model/model_cost.h"
#include "engine/model/parameter.h"
#include "engine/runtime/rank_model.h"
#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/catalogue.h"

namespace halfpipe::runtime {

namespace {

struct Layout {
  schedule::Placement placement;
  std::vector<model::StageLayers> stage_map;
  schedule::CostModel costs;
};

Layout lay_out(const config::RunConfig& config) {
  const schedule::Placement placement = schedule::placement_for(
      config.schedule.name, config.parallel.pipeline, config.schedule.num_chunks);
  const int B = config.train.micro_batch_size;
  const std::vector<int> blocks =
      config.parallel.layers_per_stage
          ? *config.parallel.layers_per_stage
          : model::balanced_blocks_per_stage(config.model, placement, B);
  std::vector<model::StageLayers> stage_map = model::make_stage_map(config.model, blocks);
  schedule::CostModel costs = model::estimate_costs(config.model, stage_map, B);
  return {placement, std::move(stage_map), std::move(costs)};
}

std::string in_words(const std::vector<model::StageLayers>& stage_map) {
  std::string text;
  for (const model::StageLayers& layers : stage_map) {
    text += fmt::format("{}:{}+{}{}{};", layers.stage, layers.first_block, layers.num_blocks,
                        layers.has_embedding ? "e" : "", layers.has_head ? "h" : "");
  }
  return text;
}

}  // namespace

Job make_job(const config::RunConfig& config) {
  Layout layout = lay_out(config);
  const int m = config.num_micro_batches();
  const schedule::StageOrders orders = schedule::make_orders(
      config.schedule.name, config.parallel.pipeline, m, config.schedule.num_chunks, layout.costs);
  schedule::Plan training = schedule::build_plan(orders, layout.costs);
  schedule::Plan evaluation = schedule::build_forward_plan(layout.placement, m, layout.costs);
  return {config,
          layout.placement,
          std::move(layout.stage_map),
          std::move(layout.costs),
          std::move(training),
          std::move(evaluation)};
}

Job agree_on_job(const config::RunConfig& config, transport::Transport& transport) {
  std::vector<std::byte> training;
  std::vector<std::byte> evaluation;
  if (transport.rank() == 0) {
    const Job job = make_job(config);
    training = schedule::serialize(job.training);
    evaluation = schedule::serialize(job.evaluation);
  }
  transport.broadcast(training, 0);
  transport.broadcast(evaluation, 0);
  Layout layout = lay_out(config);
  Job job{config,
          layout.placement,
          std::move(layout.stage_map),
          std::move(layout.costs),
          schedule::deserialize(training),
          schedule::deserialize(evaluation)};

  // The stage map comes from floating-point costs on every rank by itself, the plans are received.
  const std::string mine = fmt::format("{}/{}/{}", schedule::hash_of(job.training),
                                       schedule::hash_of(job.evaluation), in_words(job.stage_map));
  const auto records = transport.all_gather(std::as_bytes(std::span(mine)));
  const bool same = std::ranges::all_of(records, [&](const std::vector<std::byte>& other) {
    return std::ranges::equal(other, std::as_bytes(std::span(mine)));
  });
  HALFPIPE_CHECK(same, "ranks hold different plans or stage maps");
  return job;
}

std::vector<RankMemory> plan_memory(const Job& job, device::Backend& backend) {
  std::vector<RankMemory> ranks;
  const int p = job.placement.num_pipeline_ranks();
  for (int rank = 0; rank < p; ++rank) {
    RankModel model(job, rank);
    const model::ParameterBytes bytes = model::parameter_bytes(model.parameters().all());
    const schedule::RankPlan& training = job.training.ranks[static_cast<std::size_t>(rank)];
    const schedule::RankPlan& evaluation = job.evaluation.ranks[static_cast<std::size_t>(rank)];
    RankMemory memory;
    memory.parameters = static_cast<std::int64_t>(bytes.values);
    memory.gradients = static_cast<std::int64_t>(bytes.gradients);
    memory.optimizer = 2 * memory.parameters;
    memory.activations = training.peak_activation_bytes;
    memory.activations_arena = std::max(training.arena_bytes, evaluation.arena_bytes);
    const int buffers = std::max(training.num_message_buffers, evaluation.num_message_buffers);
    memory.communication = buffers * static_cast<std::int64_t>(padded_bytes(
                                         static_cast<std::size_t>(job.training.message_bytes)));
    memory.workspace = static_cast<std::int64_t>(model.workspace_bytes(backend));
    memory.batch = model.batch_bytes();
    ranks.push_back(memory);
  }
  return ranks;
}

std::vector<std::int64_t> plan_activations_without_head(const Job& job) {
  std::vector<model::StageLayers> stage_map = job.stage_map;
  stage_map.back().has_head = false;
  const schedule::CostModel costs =
      model::estimate_costs(job.config.model, stage_map, job.config.train.micro_batch_size);
  const schedule::Plan plan = schedule::build_plan(orders_of(job.training), costs);
  std::vector<std::int64_t> peaks;
  for (const schedule::RankPlan& rank : plan.ranks) peaks.push_back(rank.peak_activation_bytes);
  return peaks;
}

schedule::StageOrders orders_of(const schedule::Plan& plan) {
  schedule::StageOrders orders{plan.schedule_name, plan.placement, plan.num_micro_batches, {}};
  for (const schedule::RankPlan& rank : plan.ranks) {
    std::vector<schedule::PassOp>& ops = orders.ranks.emplace_back();
    for (const schedule::Instruction& instruction : rank.instructions) {
      using enum schedule::OpKind;
      const auto add = [&](schedule::Pass pass) {
        ops.push_back({pass, instruction.stage, instruction.micro_batch});
      };
      if (instruction.kind == kForward) add(schedule::Pass::kForward);
      if (instruction.kind == kBackwardInput) add(schedule::Pass::kBackwardInput);
      if (instruction.kind == kBackwardWeight) add(schedule::Pass::kBackwardWeight);
    }
  }
  return orders;
}

}  // namespace halfpipe::runtime
