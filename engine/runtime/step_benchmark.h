// SPDX-License-Identifier: Apache-2.0
// Measures the steps of a job, as training runs them, and nothing around them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/checkpoint/tuned_record.h"
#include "engine/runtime/planning/job.h"
#include "engine/runtime/trainer_transports.h"
#include "kernels/device/backend.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::runtime {

struct BenchmarkSteps {
  int warm_up = 2;   // run first, not measured
  int measured = 5;  // at least 1
};

/// One measured step; each figure is the largest of any rank.
struct MeasuredStep {
  /// From a barrier to the end of the optimizer step; of steps in a row, from where one has sent
  /// its share of the norm to where the next one has.
  double seconds = 0.0;
  double span_seconds = 0.0;      // from first to last pass
  double work_seconds = 0.0;      // in passes
  double host_cpu_seconds = 0.0;  // Executor::host_cpu_seconds
};

/// For how long what replicas send one another was all that some rank had left to do, in a step:
/// medians, seconds.
struct ExposedSeconds {
  double gradients = 0.0;   // StepResult::exchange_seconds
  double parameters = 0.0;  // StepResult::gather_seconds

  [[nodiscard]] double total() const { return gradients + parameters; }
};

struct StepBenchmark {
  std::vector<MeasuredStep> steps;
  std::vector<RankMemory> memory;  // [pipeline rank], measured, of the replica that takes most
  /// Where several replicas run; with a sharded optimizer of two steps at least, since a step says
  /// of the one before how long its parameters took.
  std::optional<ExposedSeconds> exposed;
  /// Of replica 0, in the step whose time is nearest to the median, among the first 64; only its
  /// passes, span, makespan and bubbles are filled.
  schedule::Timeline timeline;
  std::string tuning;  // device.tune: what was measured, lines for a reader; else empty
  std::optional<checkpoint::TunedRecord> tuned;  // the choices

  /// The step whose time is the median, the lower one of two.
  [[nodiscard]] const MeasuredStep& median() const;
};

/// Runs the training steps of the job on random tokens with a learning rate of 0, so that the
/// parameters stay as they are: one by one or, where ranks go on with the next step before the norm
/// is known (RunConfig::steps_early) or before all of a sharded optimizer's parameters have come,
/// in a row. Collective; the same on every rank. `job` must outlive it; backend and transports are
/// those of training. `tuned`: choices of a benchmark before this one, which hold for this one,
/// too, so that schedules differ in nothing else.
///
/// On modelled devices (ModelledRanks) a pipeline may stand for all replicas: after each step a
/// rank then sleeps as long as its exchange with them would take (outside_passes.h), and the
/// buffers for it are added to the memory. Exchanges of tensor ranks are a time within its passes.
[[nodiscard]] StepBenchmark benchmark_steps(
    const Job& job,
    const BenchmarkSteps& steps,
    int num_threads,
    device::Backend& backend,
    const TrainerTransports& transports,
    const std::optional<checkpoint::TunedRecord>& tuned = {});

}  // namespace halfpipe::runtime
