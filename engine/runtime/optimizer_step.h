// SPDX-License-Identifier: Apache-2.0
// From the gradients of one rank's passes to its parameters of the next step: exchange with the
// replicas, norm, clipping, AdamW.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/optimizer/adamw.h"
#include "engine/runtime/planning/job.h"
#include "engine/runtime/planning/rank_model.h"
#include "engine/runtime/step/early_step.h"
#include "engine/runtime/step/gradient_exchange.h"
#include "engine/runtime/step/gradient_squares.h"
#include "engine/runtime/step/parameter_gather.h"
#include "engine/runtime/step/replica_parts.h"
#include "engine/runtime/step/shared_gradients.h"
#include "engine/runtime/step/step_sums.h"
#include "engine/runtime/trainer_transports.h"

namespace halfpipe::runtime {

/// A step calls begin(), after_instruction() for every instruction of the training program and
/// complete_gradients(). Then either agree() and apply() or, if not all is well, nothing; or, where
/// steps begin early, show() and, after passes that read parameters alone, settle() and one of
/// take_shown(), put_right() and take_back().
class OptimizerStep {
 public:
  /// Takes the memory of moments and of the exchange. The model's is allocated. All must outlive
  /// this; `compute` is the stream of the passes, and of everything here that does not say
  /// otherwise. tensor_or_null: the ranks that share this one's layers.
  OptimizerStep(const Job& job,
                RankModel& model,
                device::Backend& backend,
                const TrainerTransports& transports,
                device::Stream& compute,
                model::TensorGroup* tensor_or_null = nullptr);

  /// To be called when job.training has changed, between two steps.
  void take_new_plan();

  /// Clears the gradients. `step` counts from 0.
  void begin(std::int64_t step);
  /// Passes from here on see the parameters that they read.
  void before_instruction(std::size_t instruction);
  /// Starts to exchange gradients that no later instruction adds to, and goes on with those under
  /// way. Does not wait for messages.
  void after_instruction(std::size_t instruction);
  /// After the last pass: waits until the gradients are the sums over all replicas (of this
  /// replica's parts, where the optimizer is sharded) and tensor ranks, and enqueues their squares,
  /// which takes some of the workspace. Collective.
  void complete_gradients(device::Arena& workspace);
  /// The norm, and what all ranks brought. The stream has been synchronized since
  /// complete_gradients(), for which the times in `mine` may be missing. Collective.
  [[nodiscard]] StepTotals agree(RankShare mine);
  /// Clips gradients of this global norm and steps the parameters. With a sharded optimizer those
  /// of other replicas come while the next step's passes run, or by complete_parameters().
  /// Collective.
  void apply(double learning_rate, double norm);
  /// All parameters are this step's on return.
  void complete_parameters();

  /// Whether show() may stand in place of agree(): the same on every rank.
  [[nodiscard]] bool can_show() const { return early_ && early_->is_worth_a_guess(); }
  /// Sends what agree() would, and waits for nothing but replicas of a sharded optimizer. Passes
  /// read parameters as they are after this step, if its norm asks for no clipping. Collective.
  void show(RankShare mine, double learning_rate);
  /// What agree() returns, of the shown step. Collective.
  [[nodiscard]] StepTotals settle();
  /// Whether what was shown is what a step of this norm does.
  [[nodiscard]] bool look_at_norm(double norm);
  /// Takes the shown step. Does not wait.
  void take_shown(double learning_rate);
  /// Takes it with the factor of this norm instead. Does not wait. Collective.
  void put_right(double learning_rate, double norm);
  /// There is to be no step: parameters and moments have the bits that they had before show().
  /// Does not wait. Collective.
  void take_back();

  [[nodiscard]] EarlySteps early_steps() const { return early_ ? early_->counts() : EarlySteps{}; }
  [[nodiscard]] optimizer::AdamW& adamw() { return adamw_; }
  [[nodiscard]] const ReplicaParts& parts() const { return parts_; }
  /// Of moments, and of what steps overwrite.
  [[nodiscard]] std::size_t bytes() const {
    return adamw_.bytes() + (early_ ? early_->bytes() : 0);
  }
  [[nodiscard]] std::size_t communication_bytes() const {
    return (exchange_ ? exchange_->bytes() : 0) +
           (shared_gradients_ ? shared_gradients_->bytes() : 0);
  }

 private:
  /// The part of combining the two gradients of a tied table that another rank has to do with:
  /// starts to fetch the one that it accumulated, and to send it the other.
  void start_tied_gradients();
  /// Adds the two.
  void finish_tied_gradients();
  void make_exchange();
  void make_gather();
  /// Gradients of both uses of a tied table, and of all replicas, become their sums.
  void finish_exchange();
  /// What agree() sends.
  [[nodiscard]] RankShare share_of_this_rank(RankShare mine);
  [[nodiscard]] optimizer::Update update_of(double learning_rate, double norm) const;
  /// Starts to fetch the parameters that other replicas have stepped.
  void gather_parameters();
  [[nodiscard]] bool reads_tied_table(int chunk) const;

  const Job& job_;
  RankModel& model_;
  device::Backend& backend_;
  TrainerTransports transports_;
  device::Stream& compute_;
  ReplicaParts parts_;
  optimizer::AdamW adamw_;
  std::optional<EarlyStep> early_;  // with optimizer.post_validation
  GradientSquares squares_;
  StepSums sums_;
  std::vector<int> released_after_;           // [instructions]: the group of gradients, or kNoGroup
  std::vector<int> first_read_by_;            // [instructions]: the chunk, or kNoGroup
  std::optional<GradientExchange> exchange_;  // with several replicas
  std::optional<SharedGradients> shared_gradients_;  // with several tensor ranks
  std::optional<ParameterGather> gather_;            // where they share the optimizer
  std::vector<transport::Request> tied_requests_;
  std::unique_ptr<device::Event> exchange_begin_, exchange_end_, has_warmed_up_;
  std::int64_t step_ = 0;
};

}  // namespace halfpipe::runtime
