// SPDX-License-Identifier: Apache-2.0
// The cost model of a job as its own steps measure it.
#pragma once

#include "engine/runtime/pass_times.h"
#include "engine/runtime/planning/job.h"
#include "kernels/device/backend.h"
#include "parallel/schedule/cost_model.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// Seconds of every stage's passes from the ranks that host it, and of a message on every link that
/// the plan uses, from round trips between steps; bytes are those of job.costs. Collective; the
/// same on every rank.
[[nodiscard]] schedule::CostModel measure_costs(const Job& job,
                                                const PassTimes& mine,
                                                device::Backend& backend,
                                                transport::Transport& transport);

/// The means of what the pipelines of a job have measured, each by measure_costs() of its own
/// ranks. Collective over all ranks; the same on every one.
[[nodiscard]] schedule::CostModel mean_costs(schedule::CostModel of_pipeline,
                                             transport::Transport& world);

}  // namespace halfpipe::runtime
