// SPDX-License-Identifier: Apache-2.0
// Everything about a job that is decided before its first step: which layers run where, in which
// order, with how much memory.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/config/run_config.h"
#include "engine/model/stage_map.h"
#include "engine/runtime/planning/choose_schedule.h"
#include "kernels/device/backend.h"
#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/plan.h"
#include "parallel/schedule/stage_orders.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

struct Job {
  config::RunConfig config;  // model.vocab_size and optimizer.post_validation are resolved
  schedule::Placement placement;
  std::vector<model::StageLayers> stage_map;  // [num_stages]
  schedule::CostModel costs;
  schedule::Plan training;
  schedule::Plan evaluation;             // forward passes only
  std::optional<ScheduleSearch> search;  // schedule.name auto; on rank 0 and where no ranks are
};

/// Builds and validates both plans. Pure: no device, no transport. Throws ScheduleError when none
/// exists.
[[nodiscard]] Job make_job(const config::RunConfig& config);

/// The same on every rank of a transport: rank 0 plans, the others receive its plans and
/// stages, and all compare them and the bytes that their own models would keep. What rank 0 throws
/// becomes an AgreedError on all.
[[nodiscard]] Job agree_on_job(const config::RunConfig& config, transport::Transport& transport);

/// Bytes of one rank by kind. A plan's figures and measured ones have the same shape, to be held
/// side by side.
struct RankMemory {
  std::int64_t parameters = 0;
  std::int64_t gradients = 0;
  std::int64_t optimizer = 0;
  std::int64_t activations = 0;  // peak of live saved tensors
  std::int64_t activations_arena =
      0;  // what is taken for them; more than the peak only where the packing has gaps
  std::int64_t communication = 0;  // message buffers
  std::int64_t workspace = 0;      // scratch of the hungriest pass
  std::int64_t batch = 0;          // tokens, targets and losses of a step
  std::int64_t checkpoint_copy =
      0;  // on the host, of what a rank saves while it trains; replica 0 has most

  [[nodiscard]] std::int64_t total() const {
    return parameters + gradients + optimizer + activations_arena + communication + workspace +
           batch + checkpoint_copy;
  }
  friend bool operator==(const RankMemory&, const RankMemory&) = default;
};

/// Planned bytes of every pipeline rank. The backend is asked for scratch sizes only.
[[nodiscard]] std::vector<RankMemory> plan_memory(const Job& job, device::Backend& backend);

/// The part of that which does not depend on the orders of the passes: all but activations, their
/// arena and message buffers. The job's plans and costs are not read.
[[nodiscard]] RankMemory plan_memory_outside_passes(const Job& job,
                                                    int pipeline_rank,
                                                    device::Backend& backend);

/// Peak activation bytes of every pipeline rank if the model had no head: what the schedule alone
/// decides. The head keeps one micro-batch's logits on the rank of the last stage.
[[nodiscard]] std::vector<std::int64_t> plan_activations_without_head(const Job& job);

/// The passes of a plan in their orders, without its communication.
[[nodiscard]] schedule::StageOrders orders_of(const schedule::Plan& plan);

}  // namespace halfpipe::runtime
