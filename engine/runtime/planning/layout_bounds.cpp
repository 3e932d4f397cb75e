// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/layout_bounds.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "engine/model/model_cost.h"
#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/planning/rank_model.h"
#include "engine/runtime/planning/stage_costs.h"
#include "engine/runtime/ranks/fan.h"
#include "engine/runtime/ranks/mesh_of.h"
#include "parallel/schedule/catalogue.h"

namespace halfpipe::runtime {

namespace {

// Sums of the same times in another order than a simulation adds them in.
constexpr double kRounding = 1e-9;

/// A job without plans: what ranks keep and exchange does not depend on them.
Job job_without_plans(const config::RunConfig& config, const StageLayout& stages) {
  const schedule::Plan none{"", stages.placement, 0, false, 0, {}, {}};
  return {config, stages.placement, stages.stage_map, {}, none, none, {}};
}

}  // namespace

double makespan_bound(const StageLayout& layout, std::string_view schedule, int m) {
  const bool fused = schedule == "1f1b" || schedule == "interleaved";
  const std::vector<schedule::StageCost>& stages = layout.costs.stages;
  double bound = 0.0;
  double forwards_before = 0.0;  // of the stages before the rank's first one: stage r of rank r
  double backwards_before = 0.0;
  const double first_weight = stages.front().backward_weight_seconds;
  for (int rank = 0; rank < layout.placement.num_pipeline_ranks(); ++rank) {
    double inputs = 0.0;
    double weights = 0.0;
    for (int chunk = 0; chunk < layout.placement.num_chunks(); ++chunk) {
      const auto stage = static_cast<std::size_t>(layout.placement.stage_of(rank, chunk));
      inputs += stages[stage].forward_seconds + stages[stage].backward_input_seconds;
      weights += stages[stage].backward_weight_seconds;
    }
    const schedule::StageCost& own = stages[static_cast<std::size_t>(rank)];
    const double weights_that_come_first = fused ? m * weights - own.backward_weight_seconds : 0.0;
    bound = std::max(
        {bound, forwards_before + m * (inputs + weights),
         forwards_before + m * inputs + weights_that_come_first + backwards_before + first_weight});
    forwards_before += own.forward_seconds;
    backwards_before += own.backward_input_seconds;
  }
  return bound * (1.0 - kRounding);
}

LayoutParts::LayoutParts(config::RunConfig config, device::Backend& backend)
    : config_(std::move(config)), backend_(backend) {}

parallel::Mesh LayoutParts::mesh_of_layout(const Layout& layout) const {
  config::ParallelConfig parallel = config_.parallel;
  parallel.data = layout.data;
  parallel.tensor = layout.tensor;
  parallel.pipeline = layout.pipeline;
  return mesh_of(parallel);
}

const LayoutParts::StageFigures& LayoutParts::figures_of(const Layout& layout,
                                                         int tensor_near,
                                                         const model::StageLayers& layers) {
  const StageKey key{
      layout.tensor,       tensor_near,
      layout.gather_again, layout.micro_batch_size,
      layout.recompute,    {layers.num_blocks, layers.has_embedding, layers.has_head}};
  const auto found = stages_.find(key);
  if (found != stages_.end()) return found->second;
  Layout alone = layout;  // on the same mesh
  alone.schedule = "1f1b";
  alone.num_chunks = 1;
  const schedule::CostModel costs = stage_costs(with_layout(config_, alone), {layers});
  return stages_.emplace(key, StageFigures{costs.stages.front(), costs.message_bytes})
      .first->second;
}

StageLayout LayoutParts::stages_of(const Layout& layout) {
  const schedule::Placement placement =
      schedule::placement_for(layout.schedule, layout.pipeline, layout.num_chunks);
  model::TransformerConfig model = config_.model;
  model.recompute = {layout.recompute};
  StageLayout stages{placement,
                     model::make_stage_map(model, model::balanced_blocks_per_stage(
                                                      model, placement, layout.micro_batch_size)),
                     {}};
  const parallel::Mesh mesh = mesh_of_layout(layout);
  const config::HardwareProfile& profile = *config_.device.profile;
  const int near = fan_along(parallel::Axis::kTensor, mesh, profile).near;
  for (const model::StageLayers& layers : stages.stage_map) {
    const StageFigures& figures = figures_of(layout, near, layers);
    stages.costs.stages.push_back(figures.cost);
    stages.costs.message_bytes = figures.message_bytes;
  }
  add_links(profile, mesh, stages.costs);
  return stages;
}

LayoutParts::RankKey LayoutParts::key_of(const Layout& layout,
                                         const StageLayout& stages,
                                         int rank) {
  RankKey key{layout.data, layout.tensor, layout.pipeline, layout.zero_stage, {}};
  for (int chunk = 0; chunk < stages.placement.num_chunks(); ++chunk) {
    const model::StageLayers& layers =
        stages.stage_map[static_cast<std::size_t>(stages.placement.stage_of(rank, chunk))];
    key.stages.push_back({layers.num_blocks, layers.has_embedding, layers.has_head});
  }
  return key;
}

OutsidePasses LayoutParts::outside_passes_of(const Layout& layout, const StageLayout& stages) {
  OutsidePasses most;
  std::optional<Job> job;  // made where it is asked for
  for (int rank = 0; rank < stages.placement.num_pipeline_ranks(); ++rank) {
    RankKey key = key_of(layout, stages, rank);
    auto found = outside_.find(key);
    if (found == outside_.end()) {
      if (!job) job.emplace(job_without_plans(with_layout(config_, layout), stages));
      found = outside_.emplace(std::move(key), outside_passes_of_rank(*job, rank)).first;
    }
    most = most_of(most, found->second);
  }
  return most;
}

std::vector<RankMemory> LayoutParts::memory_outside_passes_of(const Layout& layout,
                                                              const StageLayout& stages) {
  std::vector<RankMemory> ranks;
  std::optional<Job> job;
  for (int rank = 0; rank < stages.placement.num_pipeline_ranks(); ++rank) {
    MemoryKey key{key_of(layout, stages, rank), layout.gather_again, layout.micro_batch_size,
                  layout.recompute};
    auto found = memory_.find(key);
    if (found == memory_.end()) {
      if (!job) job.emplace(job_without_plans(with_layout(config_, layout), stages));
      found =
          memory_.emplace(std::move(key), plan_memory_outside_passes(*job, rank, backend_)).first;
    }
    ranks.push_back(found->second);
  }
  return ranks;
}

}  // namespace halfpipe::runtime
