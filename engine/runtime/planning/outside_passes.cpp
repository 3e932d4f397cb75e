// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/outside_passes.h"

#include <algorithm>
#include <cstddef>
#include <map>

#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/planning/rank_model.h"
#include "engine/runtime/ranks/fan.h"
#include "engine/runtime/ranks/mesh_of.h"
#include "engine/runtime/step/gradient_buckets.h"
#include "kernels/core/bfloat16.h"
#include "kernels/core/error.h"
#include "kernels/ops/op_cost.h"

namespace halfpipe::runtime {

namespace {

/// Of all parameters.
std::int64_t num_stepped(const std::vector<optimizer::ElementRanges>& elements) {
  std::int64_t count = 0;
  for (const optimizer::ElementRanges& ranges : elements) count += num_elements(ranges);
  return count;
}

}  // namespace

double exchange_seconds(const config::RunConfig& config, const ReplicaParts& parts) {
  const int D = config.parallel.data;
  if (D == 1) return 0.0;
  const Fan fan =
      fan_along(parallel::Axis::kData, mesh_of(config.parallel), *config.device.profile);
  const modelled::DeviceModel device = device_model_of(config);
  double seconds = 0.0;
  for (const GradientBucket& bucket : parts.buckets) {
    std::size_t part = 0;
    for (int replica = 0; replica < D; ++replica) {
      part = std::max(part, bucket.part(replica).count());
    }
    seconds += 2.0 * fan.seconds(static_cast<double>(part * sizeof(float)));
    seconds +=
        (D - 1) * device.seconds(ops::cost_of(ops::Accumulate{
                      .dst = nullptr, .src = nullptr, .count = static_cast<std::int64_t>(part)}));
  }
  return seconds;
}

double busiest_adapter_seconds(const Job& job) {
  const config::RunConfig& config = job.config;
  const int D = config.parallel.data;
  double most = 0.0;
  for (int rank = 0; D > 1 && rank < job.placement.num_pipeline_ranks(); ++rank) {
    const ReplicaParts parts = replica_parts(config, RankModel(job, rank));
    for (int replica = 0; replica < D; ++replica) {
      const auto links =
          replica_links_from(*config.device.profile, mesh_of(config.parallel), rank, replica);
      std::map<int, double> seconds;  // by adapter
      for (int other = 0; other < D; ++other) {
        if (other == replica) continue;
        std::size_t floats = 0;  // theirs, to be added up, then mine
        for (const GradientBucket& bucket : parts.buckets) {
          floats += bucket.part(other).count() + bucket.part(replica).count();
        }
        const transport::ModelledLink& link = links[static_cast<std::size_t>(other)];
        seconds[link.adapter] +=
            static_cast<double>(floats * sizeof(float)) / link.bytes_per_second;
      }
      for (const auto& [adapter, busy] : seconds) most = std::max(most, busy);
    }
  }
  return most;
}

double update_seconds(const config::RunConfig& config,
                      const std::vector<model::Parameter>& parameters,
                      const std::vector<optimizer::ElementRanges>& stepped) {
  const modelled::DeviceModel device = device_model_of(config);
  const bool copies = config.model.dtype == DType::kBFloat16;
  BFloat16 a_copy{};  // adamw's cost asks only whether there is one
  ops::AdamW adamw{};
  adamw.moment_dtype = config.optimizer.moments;
  adamw.copy_or_null = copies ? &a_copy : nullptr;
  double seconds = 0.0;
  ops::OpCost step;  // of all elements, which one operation is given; so is the norm
  ops::OpCost norm;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const model::Parameter& parameter = parameters[i];
    for (const optimizer::ElementRange& range : stepped[i]) {
      adamw.count = range.count();
      step += ops::cost_of(adamw);
      if (!parameter.owned || !parameter.counts_in_norm) continue;
      norm += ops::cost_of(ops::SumOfSquares{.out = nullptr, .x = nullptr, .count = range.count()});
    }
    if (parameter.has_head_gradient) {
      seconds += device.seconds(ops::cost_of(
          ops::Accumulate{.dst = nullptr, .src = nullptr, .count = parameter.count()}));
    }
  }
  for (const ops::OpCost& cost : {step, norm}) {
    if (cost.bytes > 0.0) seconds += device.seconds(cost);
  }
  const auto gradients =
      static_cast<double>(model::parameter_bytes(parameters, config.model.dtype).gradients);
  if (gradients > 0.0) seconds += device.seconds({.flops = 0.0, .bytes = gradients});
  if (!copies || config.optimizer.zero_stage == 0) return seconds;
  for (const model::Parameter& parameter : parameters) {
    seconds += device.seconds(ops::cost_of(
        ops::RoundToBFloat16{.dst = nullptr, .src = nullptr, .count = parameter.count()}));
  }
  return seconds;
}

double shared_gradient_seconds(const config::RunConfig& config,
                               const std::vector<model::Parameter>& parameters) {
  if (config.parallel.tensor == 1) return 0.0;
  const modelled::DeviceModel device = device_model_of(config);
  double seconds = 0.0;
  std::int64_t count = 0;
  for (const model::Parameter& parameter : parameters) {
    if (!parameter.gradient_is_of_own_tokens) continue;
    count += parameter.count();
    const auto bytes = static_cast<double>(parameter.count()) * sizeof(float);
    seconds += 2.0 * device.seconds({.flops = 0.0, .bytes = 2.0 * bytes});
  }
  if (count == 0) return 0.0;
  const Fan fan =
      fan_along(parallel::Axis::kTensor, mesh_of(config.parallel), *config.device.profile);
  ops::SumParts sum{};
  sum.num_parts = config.parallel.tensor;
  sum.N = 1;
  sum.C = count;
  sum.dtype = DType::kFloat32;
  return seconds + fan.seconds(static_cast<double>(count) * sizeof(float)) +
         device.seconds(ops::cost_of(sum));
}

double tied_gradient_seconds(const config::RunConfig& config,
                             const schedule::Placement& placement,
                             const std::vector<model::Parameter>& parameters) {
  const auto table = std::ranges::find(parameters, model::kTokenEmbeddingName,
                                       [](const model::Parameter& one) { return one.spec.name; });
  HALFPIPE_CHECK(table != parameters.end(), "the rank has no embedding");
  const int last = placement.rank_of(placement.num_stages() - 1);
  const transport::ModelledLink link =
      links_from(*config.device.profile, mesh_of(config.parallel),
                 placement.rank_of(0))[static_cast<std::size_t>(last)];
  const auto bytes = static_cast<double>(table->count()) * sizeof(float);
  return link.latency_seconds + bytes / link.bytes_per_second;
}

OutsidePasses most_of(const OutsidePasses& one, const OutsidePasses& other) {
  return {.tied_gradient = std::max(one.tied_gradient, other.tied_gradient),
          .exchange = std::max(one.exchange, other.exchange),
          .shared_gradients = std::max(one.shared_gradients, other.shared_gradients),
          .update = std::max(one.update, other.update)};
}

OutsidePasses outside_passes(const Job& job) {
  OutsidePasses most;
  for (int rank = 0; rank < job.placement.num_pipeline_ranks(); ++rank) {
    most = most_of(most, outside_passes_of_rank(job, rank));
  }
  return most;
}

OutsidePasses outside_passes_of_rank(const Job& job, int pipeline_rank) {
  const RankModel model(job, pipeline_rank);
  const std::vector<model::Parameter>& parameters = model.parameters().all();
  const ReplicaParts parts = replica_parts(job.config, model);
  const auto most = std::ranges::max_element(parts.stepped, {}, num_stepped);
  OutsidePasses result{.tied_gradient = 0.0,
                       .exchange = exchange_seconds(job.config, parts),
                       .shared_gradients = shared_gradient_seconds(job.config, parameters),
                       .update = update_seconds(job.config, parameters, *most)};
  if (model.exchanges_tied_gradient()) {
    result.tied_gradient = tied_gradient_seconds(job.config, job.placement, parameters);
  }
  return result;
}

}  // namespace halfpipe::runtime
