// SPDX-License-Identifier: Apache-2.0
// schedule.replan_after: watches the first steps of a run, changes the job's plan once for what
// they cost, and says whether the next steps are as expected.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/runtime/pass_times.h"
#include "engine/runtime/pipeline_trainer.h"
#include "engine/runtime/planning/job.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

class Replanner {
 public:
  /// job.config.schedule.replan_after is above 0. What it is given must outlive it. `messages`:
  /// what carries them between stages; links are measured on it. `world`: all ranks, which get one
  /// plan.
  Replanner(Job& job,
            PipelineTrainer& trainer,
            transport::Transport& messages,
            transport::Transport& world);

  /// After each step. When as many steps are done as asked for, measures and searches; with a
  /// better plan, job.training and job.costs change and the trainer takes memory for them. Results
  /// of training do not change by a bit. Returns lines for the log, or nothing. Collective; the
  /// same on every rank.
  [[nodiscard]] std::string after_step(const StepResult& step);
  /// Whether the last after_step() changed the plan.
  [[nodiscard]] bool changed_plan() const { return changed_plan_; }
  /// Whether no step to come is looked at.
  [[nodiscard]] bool is_done() const;

 private:
  [[nodiscard]] std::string replan_now();
  [[nodiscard]] std::string compare_with_expectation() const;

  Job& job_;
  PipelineTrainer& trainer_;
  transport::Transport& messages_;
  transport::Transport& world_;
  PassTimes times_;
  std::int64_t steps_seen_ = 0;
  std::vector<double> spans_;   // seconds, of the steps since the start or the change
  double expected_span_ = 0.0;  // of the changed plan; 0: it was not changed
  bool changed_plan_ = false;
};

}  // namespace halfpipe::runtime
