// SPDX-License-Identifier: Apache-2.0
// What a step of modelled devices takes beside the passes of its schedule. Operations cost what the
// modelled device takes for them (kernels/ops/op_cost.h by device_model_of()), bytes between ranks
// what the links of the hardware profile take.
#pragma once

#include <vector>

#include "engine/config/run_config.h"
#include "engine/model/parameter.h"
#include "engine/runtime/planning/job.h"
#include "engine/runtime/step/replica_parts.h"

namespace halfpipe::runtime {

/// Seconds, each on the rank that takes longest. In a step they stand one after another: the norm
/// of the gradients is known only when every rank has exchanged its own.
struct OutsidePasses {
  double tied_gradient = 0.0;  // between the ranks of a tied embedding's two uses
  double exchange = 0.0;       // of gradients between replicas, or of their sums and the parameters
  double shared_gradients = 0.0;  // of what tensor ranks all hold
  double update = 0.0;            // clearing gradients, their norm, the optimizer

  [[nodiscard]] double total() const {
    return tied_gradient + exchange + shared_gradients + update;
  }
};

/// The larger one of each.
[[nodiscard]] OutsidePasses most_of(const OutsidePasses& one, const OutsidePasses& other);

/// The job's device is a modelled one; its plans and costs are not read. The batch's tokens, a few
/// bytes, and the sum of a step's norm take no time.
[[nodiscard]] OutsidePasses outside_passes(const Job& job);
/// Of one pipeline rank.
[[nodiscard]] OutsidePasses outside_passes_of_rank(const Job& job, int pipeline_rank);

/// Of a pipeline rank whose gradients are cut so, one bucket after another and none behind a pass:
/// each part straight to the replica that adds it up, then the sums back, or the parameters that
/// the replica has stepped: as many bytes. With the Fan of D replicas, and parts of b bytes:
///   2 * fan(b) + (D - 1) * accumulate(b)
[[nodiscard]] double exchange_seconds(const config::RunConfig& config, const ReplicaParts& parts);

/// What no exchange is shorter than, however its messages overlap: the time of all bytes that a
/// rank sends to replicas in a step, on the busiest adapter of all ranks.
[[nodiscard]] double busiest_adapter_seconds(const Job& job);

/// Of a rank with these parameters, of which it steps these elements: what OptimizerStep does with
/// them. The squares of the norm, and AdamW, are one operation each for all parameters. With
/// optimizer.zero_stage 1 every copy is made anew from all parameters.
[[nodiscard]] double update_seconds(const config::RunConfig& config,
                                    const std::vector<model::Parameter>& parameters,
                                    const std::vector<optimizer::ElementRanges>& stepped);

/// Of a rank with these parameters: what SharedGradients does.
[[nodiscard]] double shared_gradient_seconds(const config::RunConfig& config,
                                             const std::vector<model::Parameter>& parameters);

/// Between the first and the last stage's rank, which are two, with the model's token embedding in
/// these parameters of one of them.
[[nodiscard]] double tied_gradient_seconds(const config::RunConfig& config,
                                           const schedule::Placement& placement,
                                           const std::vector<model::Parameter>& parameters);

}  // namespace halfpipe::runtime
