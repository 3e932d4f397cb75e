// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include "engine/model/parameter.h"
#include "engine/runtime/planning/post_validation.h"
#include "engine/runtime/planning/rank_model.h"
#include "engine/runtime/planning/stage_costs.h"
#include "engine/runtime/ranks/agreement.h"
#include "engine/runtime/state/saved_state.h"
#include "engine/runtime/step/gradient_exchange.h"
#include "engine/runtime/step/replica_parts.h"
#include "engine/runtime/step/shared_gradients.h"
#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "parallel/schedule/build_plan.h"

namespace halfpipe::runtime {

namespace {

/// Layers of every stage, and the bytes that this rank's own estimate has for them.
std::string in_words(const Job& job) {
  std::string text;
  for (const model::StageLayers& layers : job.stage_map) {
    const schedule::StageCost& cost = job.costs.stages[static_cast<std::size_t>(layers.stage)];
    text +=
        fmt::format("{}:{}+{}{}{}:{},{},{};", layers.stage, layers.first_block, layers.num_blocks,
                    layers.has_embedding ? "e" : "", layers.has_head ? "h" : "",
                    cost.forward_to_backward_input_bytes, cost.forward_to_backward_weight_bytes,
                    cost.backward_input_to_backward_weight_bytes);
  }
  return text;
}

std::vector<std::byte> blocks_to_bytes(const std::vector<model::StageLayers>& stage_map) {
  std::vector<std::byte> bytes;
  for (const model::StageLayers& layers : stage_map) {
    const auto one = std::as_bytes(std::span(&layers.num_blocks, 1));
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  return bytes;
}

std::vector<int> blocks_from_bytes(const std::vector<std::byte>& bytes) {
  std::vector<int> blocks(bytes.size() / sizeof(int));
  std::memcpy(blocks.data(), bytes.data(), blocks.size() * sizeof(int));
  return blocks;
}

std::string decided(const config::RunConfig& config,
                    const ChosenSchedule& chosen,
                    const schedule::CostModel& costs) {
  if (config.optimizer.post_validation != "auto") return config.optimizer.post_validation;
  const schedule::Timeline timeline = schedule::simulate(chosen.orders, costs);
  return gains_by_post_validation(config, chosen.orders.placement, timeline) ? "on" : "off";
}

}  // namespace

Job make_job(const config::RunConfig& config) {
  ChosenSchedule chosen = choose_schedule(config);
  StageLayout& layout = chosen.layout;
  schedule::Plan training = schedule::build_plan(chosen.orders, layout.costs);
  schedule::Plan evaluation =
      schedule::build_forward_plan(layout.placement, config.num_micro_batches(), layout.costs);
  config::RunConfig resolved = config;
  resolved.optimizer.post_validation = decided(config, chosen, layout.costs);
  return {std::move(resolved),     layout.placement,    std::move(layout.stage_map),
          std::move(layout.costs), std::move(training), std::move(evaluation),
          std::move(chosen.search)};
}

Job agree_on_job(const config::RunConfig& config, transport::Transport& transport) {
  std::vector<std::byte> training;
  std::vector<std::byte> evaluation;
  std::vector<std::byte> blocks;
  std::string post_validation;
  std::optional<ScheduleSearch> search;
  agree(transport, [&] {
    if (transport.rank() != 0) return;
    Job job = make_job(config);
    training = schedule::serialize(job.training);
    evaluation = schedule::serialize(job.evaluation);
    blocks = blocks_to_bytes(job.stage_map);
    post_validation = job.config.optimizer.post_validation;
    search = std::move(job.search);
  });
  transport.broadcast(training, 0);
  transport.broadcast(evaluation, 0);
  transport.broadcast(blocks, 0);
  std::vector<std::byte> decision(post_validation.size());
  std::ranges::copy(std::as_bytes(std::span(post_validation)), decision.begin());
  transport.broadcast(decision, 0);
  schedule::Plan plan = schedule::deserialize(training);
  StageLayout layout = lay_out(config, plan.placement, blocks_from_bytes(blocks));
  config::RunConfig resolved = config;
  resolved.optimizer.post_validation = {reinterpret_cast<const char*>(decision.data()),
                                        decision.size()};
  Job job{std::move(resolved),     layout.placement, std::move(layout.stage_map),
          std::move(layout.costs), std::move(plan),  schedule::deserialize(evaluation),
          std::move(search)};

  // Plans and blocks per stage are received; what the stages keep comes from each rank's own model.
  const std::string mine = fmt::format("{}/{}/{}", schedule::hash_of(job.training),
                                       schedule::hash_of(job.evaluation), in_words(job));
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
    const schedule::RankPlan& training = job.training.ranks[static_cast<std::size_t>(rank)];
    const schedule::RankPlan& evaluation = job.evaluation.ranks[static_cast<std::size_t>(rank)];
    RankMemory memory = plan_memory_outside_passes(job, rank, backend);
    memory.activations = training.peak_activation_bytes;
    memory.activations_arena = std::max(training.arena_bytes, evaluation.arena_bytes);
    const int buffers = std::max(training.num_message_buffers, evaluation.num_message_buffers);
    memory.communication += buffers * static_cast<std::int64_t>(padded_bytes(
                                          static_cast<std::size_t>(job.training.message_bytes)));
    ranks.push_back(memory);
  }
  return ranks;
}

RankMemory plan_memory_outside_passes(const Job& job, int pipeline_rank, device::Backend& backend) {
  const RankModel model(job, pipeline_rank);
  const std::vector<model::Parameter>& parameters = model.parameters().all();
  const model::ParameterBytes bytes = model::parameter_bytes(parameters, job.config.model.dtype);
  RankMemory memory;
  memory.parameters = static_cast<std::int64_t>(bytes.values + bytes.copies);
  memory.gradients = static_cast<std::int64_t>(bytes.gradients);
  const ReplicaParts parts = replica_parts(job.config, model);
  memory.optimizer = static_cast<std::int64_t>(parts.moment_bytes(job.config.optimizer.moments) +
                                               parts.early_step_bytes(job.config));
  memory.communication = static_cast<std::int64_t>(
      GradientExchange::bytes_for(parts.buckets, job.config.parallel.data) +
      SharedGradients::bytes_for(model.parameters()));
  memory.workspace = static_cast<std::int64_t>(model.workspace_bytes(backend));
  memory.batch = model.batch_bytes();
  if (job.config.output.asynchronous_checkpoints) {
    memory.checkpoint_copy =
        saved_bytes(parameters, parts, job.config.optimizer.moments, {.pipeline = pipeline_rank});
  }
  return memory;
}

std::vector<std::int64_t> plan_activations_without_head(const Job& job) {
  std::vector<model::StageLayers> stage_map = job.stage_map;
  stage_map.back().has_head = false;
  const schedule::CostModel costs = stage_costs(job.config, stage_map);
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
