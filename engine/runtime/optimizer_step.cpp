// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/optimizer_step.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <numeric>

#include "engine/runtime/ranks/activity.h"
#include "kernels/core/error.h"
#include "kernels/ops/ops.h"

namespace halfpipe::runtime {
namespace {

constexpr int kNoGroup = -1;

/// Of instructions in this order, the first one of each chunk, with the chunk: [instructions].
std::vector<int> first_of_chunks(const schedule::RankPlan& program,
                                 int num_chunks,
                                 const std::vector<std::size_t>& order) {
  std::vector<int> groups(program.instructions.size(), kNoGroup);
  std::vector<bool> is_found(static_cast<std::size_t>(num_chunks), false);
  for (const std::size_t i : order) {
    const schedule::Instruction& instruction = program.instructions[i];
    if (instruction.message != schedule::kNone) continue;
    const auto chunk = static_cast<std::size_t>(instruction.chunk);
    if (is_found[chunk]) continue;
    is_found[chunk] = true;
    groups[i] = instruction.chunk;
  }
  return groups;
}

}  // namespace

OptimizerStep::OptimizerStep(const Job& job,
                             RankModel& model,
                             device::Backend& backend,
                             const TrainerTransports& transports,
                             device::Stream& compute,
                             model::TensorGroup* tensor_or_null)
    : job_(job),
      model_(model),
      backend_(backend),
      transports_(transports),
      compute_(compute),
      parts_(replica_parts(job.config, model)),
      adamw_(job.config.optimizer,
             job.config.train.seed,
             model.parameters(),
             backend,
             parts_.stepped_by(transports.replica()),
             parts_.moment_bytes(job.config.optimizer.moments)),
      squares_(model.parameters(), parts_.stepped, backend, transports.replicas_or_null),
      sums_(model::all_parameters(job.config.model).size(), transports.world),
      exchange_begin_(backend.make_event()),
      exchange_end_(backend.make_event()),
      has_warmed_up_(backend.make_event()) {
  if (job.config.steps_early()) {
    early_.emplace(job.config, adamw_, model.parameters(), backend,
                   parts_.early_step_bytes(job.config));
  }
  make_exchange();
  make_gather();
  if (tensor_or_null != nullptr) {
    shared_gradients_.emplace(model.parameters(), backend, *tensor_or_null);
  }
}

void OptimizerStep::make_exchange() {
  const auto& program = job_.training.ranks[static_cast<std::size_t>(transports_.pipeline.rank())];
  std::vector<std::size_t> forwards(program.instructions.size());
  std::iota(forwards.begin(), forwards.end(), std::size_t{0});
  const std::vector<std::size_t> backwards(forwards.rbegin(), forwards.rend());
  const int num_chunks = job_.placement.num_chunks();
  // Its gradients are final after a chunk's last pass, its parameters are read from the first on.
  released_after_ = first_of_chunks(program, num_chunks, backwards);
  first_read_by_ = first_of_chunks(program, num_chunks, forwards);
  if (transports_.replicas_or_null == nullptr) return;
  std::vector<int> order;
  std::ranges::copy_if(released_after_, std::back_inserter(order),
                       [](int group) { return group != kNoGroup; });
  order.push_back(model_.group_of_tied_table());
  exchange_.emplace(model_.parameters(), parts_.buckets, order,
                    parts_.is_sharded() ? HeldSums::kOwnParts : HeldSums::kAll, backend_,
                    *transports_.replicas_or_null);
}

void OptimizerStep::make_gather() {
  if (!parts_.is_sharded() || transports_.replicas_or_null == nullptr) return;
  std::vector<int> order;
  for (const int chunk : first_read_by_) {
    if (chunk == kNoGroup) continue;
    if (reads_tied_table(chunk)) order.push_back(model_.group_of_tied_table());
    order.push_back(chunk);
  }
  // A rank may hold both uses of the table.
  std::vector<int> once;
  for (const int group : order) {
    if (std::ranges::find(once, group) == once.end()) once.push_back(group);
  }
  using enum ParameterGather::UnderWay;
  const bool is_staged = job_.config.device.kind == "cuda" &&
                         !transports_.replicas_or_null->messages_hold_the_device_up();
  gather_.emplace(model_.parameters(), model_.gradient_groups(), parts_.buckets, once,
                  is_staged ? kSome : kAll, backend_, *transports_.replicas_or_null);
}

bool OptimizerStep::reads_tied_table(int chunk) const {
  const model::StageLayers& layers = model_.stage(chunk).layers();
  return job_.config.model.tie_embeddings && (layers.has_embedding || layers.has_head);
}

void OptimizerStep::take_new_plan() {
  exchange_.reset();  // before its memory is taken anew
  make_exchange();
  gather_.reset();
  make_gather();
}

void OptimizerStep::begin(std::int64_t step) {
  step_ = step;
  device::Buffer& gradients = model_.parameters().gradients();
  if (gradients.bytes() > 0) {
    backend_.fill_async(gradients.bytes_pointer(), std::byte{0}, gradients.bytes(), compute_);
  }
  if (exchange_) exchange_->begin(step);
}

void OptimizerStep::before_instruction(std::size_t instruction) {
  if (!gather_ || first_read_by_[instruction] == kNoGroup) return;
  const int chunk = first_read_by_[instruction];
  if (reads_tied_table(chunk)) gather_->finish(model_.group_of_tied_table(), compute_);
  gather_->finish(chunk, compute_);
}

void OptimizerStep::after_instruction(std::size_t instruction) {
  if (!exchange_) return;
  const int group = released_after_[instruction];
  if (group != kNoGroup) exchange_->release(group, compute_);
  exchange_->advance();
}

void OptimizerStep::complete_gradients(device::Arena& workspace) {
  publish_activity(transports_.pipeline, step_, "gradient norm");
  finish_exchange();
  if (shared_gradients_) shared_gradients_->sum(compute_);
  sums_.clear();
  // Where every replica has all sums, the first one computes all squares.
  if (parts_.is_sharded() || transports_.replica() == 0) squares_.start(workspace, compute_);
}

void OptimizerStep::finish_exchange() {
  compute_.record(*exchange_begin_);
  start_tied_gradients();
  if (exchange_) exchange_->finish_released(compute_);
  finish_tied_gradients();
  if (exchange_) {
    exchange_->release(model_.group_of_tied_table(), compute_);
    exchange_->finish_released(compute_);
  }
  compute_.record(*exchange_end_);
}

RankShare OptimizerStep::share_of_this_rank(RankShare mine) {
  if (transports_.replica() == 0) squares_.read(sums_.squares());
  if (exchange_) mine.exchange = exchange_end_->seconds_since(*exchange_begin_);
  if (gather_) mine.gather = gather_->exposed_seconds();
  return mine;
}

StepTotals OptimizerStep::agree(RankShare mine) {
  const StepTotals totals = sums_.sum(share_of_this_rank(mine));
  if (early_) (void)look_at_norm(totals.norm);
  return totals;
}

optimizer::Update OptimizerStep::update_of(double learning_rate, double norm) const {
  return {step_ + 1, learning_rate,
          optimizer::clip_factor(norm, job_.config.optimizer.clip_grad_norm)};
}

void OptimizerStep::apply(double learning_rate, double norm) {
  publish_activity(transports_.pipeline, step_, "optimizer step");
  const optimizer::Update update = update_of(learning_rate, norm);
  adamw_.step(update.step, update.learning_rate, update.grad_scale, compute_);
  gather_parameters();
}

void OptimizerStep::gather_parameters() {
  if (gather_) {
    gather_->start(compute_, step_);
  } else if (parts_.is_sharded()) {
    // The others are modelled, and what they step has come meanwhile.
    model_.parameters().round_copies(backend_, compute_);
  }
}

void OptimizerStep::complete_parameters() {
  if (gather_) gather_->finish_all(compute_);
  transports_.pipeline.synchronize(compute_);
}

void OptimizerStep::show(RankShare mine, double learning_rate) {
  sums_.start(share_of_this_rank(mine), compute_);
  publish_activity(transports_.pipeline, step_, "optimizer step, before the norm is known");
  early_->show(update_of(learning_rate, /*norm=*/0.0), compute_);
  gather_parameters();
}

StepTotals OptimizerStep::settle() {
  publish_activity(transports_.pipeline, step_, "gradient norm, after the warm-up that follows");
  // The device is still at the warm-up: what fails there shows here, too.
  compute_.record(*has_warmed_up_);
  const auto has_arrived = [&] {
    (void)has_warmed_up_->reached();
    return sums_.has_arrived(compute_);
  };
  const bool arrived = has_arrived() || transports_.world.watch_until(
                                            "sum of the gradients' squares", -1, has_arrived,
                                            std::chrono::steady_clock::time_point::max());
  HALFPIPE_CHECK(arrived, "there was no deadline");
  return sums_.finish(compute_);
}

bool OptimizerStep::look_at_norm(double norm) {
  // After a norm that is no number the next one is no good guess either.
  if (!std::isfinite(norm)) return early_->look_at(/*factor=*/0.0);
  return early_->look_at(update_of(/*learning_rate=*/0.0, norm).grad_scale);
}

void OptimizerStep::take_shown(double learning_rate) {
  if (gather_) gather_->finish_all(compute_);
  early_->take(update_of(learning_rate, /*norm=*/0.0), compute_);
}

void OptimizerStep::put_right(double learning_rate, double norm) {
  if (gather_) gather_->finish_all(compute_);
  early_->take(update_of(learning_rate, norm), compute_);
  gather_parameters();
}

void OptimizerStep::take_back() {
  if (gather_) gather_->finish_all(compute_);
  early_->take_back(compute_);
  if (gather_) {
    gather_parameters();
  } else {
    model_.parameters().round_copies(backend_, compute_);
  }
}

void OptimizerStep::start_tied_gradients() {
  if (!model_.exchanges_tied_gradient()) return;
  const model::Parameter& table = *model_.parameters().find(model::kTokenEmbeddingName);
  const int first = job_.placement.rank_of(0);
  const int last = job_.placement.rank_of(job_.placement.num_stages() - 1);
  transport::Transport& pipeline = transports_.pipeline;
  const bool has_embedding = pipeline.rank() == first;
  const int peer = has_embedding ? last : first;
  float* const mine = has_embedding ? table.gradient : table.head_gradient;
  float* const theirs = has_embedding ? table.head_gradient : table.gradient;
  const std::size_t bytes = static_cast<std::size_t>(table.count()) * sizeof(float);
  tied_requests_.push_back(
      pipeline.post_recv({reinterpret_cast<std::byte*>(theirs), bytes}, peer, compute_));
  tied_requests_.push_back(
      pipeline.send({reinterpret_cast<const std::byte*>(mine), bytes}, peer, compute_));
}

void OptimizerStep::finish_tied_gradients() {
  if (!job_.config.model.tie_embeddings) return;
  const model::Parameter* table = model_.parameters().find(model::kTokenEmbeddingName);
  if (table == nullptr) return;
  for (const transport::Request request : tied_requests_) {
    transports_.pipeline.wait(request, compute_);
  }
  // As the executor does.
  if (!tied_requests_.empty() && job_.config.debug.sync_kernels) {
    transports_.pipeline.synchronize(compute_);
  }
  tied_requests_.clear();
  backend_.ops().accumulate(
      {.dst = table->gradient, .src = table->head_gradient, .count = table->count()}, compute_);
}

}  // namespace halfpipe::runtime
