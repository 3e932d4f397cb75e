// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/pipeline_trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <sstream>

#include "engine/checkpoint/parameter_hash.h"
#include "engine/runtime/activity.h"
#include "engine/runtime/agreement.h"
#include "engine/runtime/host_window.h"
#include "engine/runtime/parameter_digest.h"
#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "kernels/ops/ops.h"

namespace halfpipe::runtime {

namespace {

/// What every rank contributes to the one sum of a step. Entries that a rank does not own are zero,
/// and x + 0 is exact, so the sum is a gather: each value arrives with the bits that its owner
/// computed.
struct ReductionLayout {
  std::size_t num_parameters;
  std::size_t num_ranks;

  [[nodiscard]] std::size_t loss() const { return num_parameters; }
  [[nodiscard]] std::size_t stop() const { return num_parameters + 1; }
  [[nodiscard]] std::size_t span(std::size_t rank) const { return num_parameters + 2 + 2 * rank; }
  [[nodiscard]] std::size_t busy(std::size_t rank) const { return span(rank) + 1; }
  [[nodiscard]] std::size_t size() const { return num_parameters + 2 + 2 * num_ranks; }
};

struct SpanAndWork {
  double span = 0.0;
  double busy = 0.0;
};

/// From the start of the first pass to the end of the last one, and the time spent in passes.
SpanAndWork measure(const std::vector<schedule::Instruction>& instructions,
                    const std::vector<InstructionTime>& times) {
  SpanAndWork result;
  double first = -1.0;
  double last = 0.0;
  for (std::size_t i = 0; i < instructions.size(); ++i) {
    if (instructions[i].message != schedule::kNone) continue;
    if (first < 0.0) first = times[i].start;
    last = times[i].end;
    result.busy += times[i].end - times[i].start;
  }
  result.span = last - std::max(first, 0.0);
  return result;
}

/// The longest span and the most work of any rank.
SpanAndWork longest(const std::vector<double>& sums, const ReductionLayout& layout) {
  SpanAndWork result;
  for (std::size_t rank = 0; rank < layout.num_ranks; ++rank) {
    result.span = std::max(result.span, sums[layout.span(rank)]);
    result.busy = std::max(result.busy, sums[layout.busy(rank)]);
  }
  return result;
}

/// Collective over the group; null: nobody to compare with.
void check_same(const std::string& hash,
                transport::Transport* group_or_null,
                const char* complaint) {
  if (group_or_null == nullptr) return;
  const std::span mine = std::as_bytes(std::span(hash));
  const auto of_all = group_or_null->all_gather(mine);
  HALFPIPE_CHECK(std::ranges::all_of(
                     of_all, [&](const auto& other) { return std::ranges::equal(other, mine); }),
                 complaint);
}

}  // namespace

PipelineTrainer::PipelineTrainer(const Job& job,
                                 device::Backend& backend,
                                 const TrainerTransports& transports)
    : job_(job),
      backend_(backend),
      world_(transports.world),
      transport_(transports.pipeline),
      replicas_or_null_(transports.replicas_or_null),
      tensor_or_null_(transports.tensor_or_null),
      stream_(backend.make_stream("compute")),
      step_begin_(backend.make_event()),
      model_(job, transport_.rank(), tensor_or_null_ == nullptr ? 0 : tensor_or_null_->rank()) {
  model_.allocate(backend);
  optimizer_ = std::make_unique<optimizer::AdamW>(job.config.optimizer, job.config.train.seed,
                                                  model_.parameters(), backend);
  if (tensor_or_null_ != nullptr) {
    tensor_group_or_null_ = std::make_unique<TransportTensorGroup>(*tensor_or_null_, backend,
                                                                   job.config.debug.sync_kernels);
    shared_gradients_or_null_ =
        std::make_unique<SharedGradients>(model_.parameters(), backend, *tensor_group_or_null_);
  }
  make_executor();
  if (replicas_or_null_ != nullptr) {
    reduction_or_null_ =
        std::make_unique<GradientReduction>(model_.parameters(), backend, *replicas_or_null_);
  }
  const auto count = static_cast<std::size_t>(model_.tokens_per_step());
  if (model_.has_first_stage()) tokens_ = device::Buffer(backend, count * sizeof(std::int32_t));
  if (model_.has_last_stage()) {
    targets_ = device::Buffer(backend, count * sizeof(std::int32_t));
    losses_ = device::Buffer(backend, count * sizeof(float));
    host_losses_.resize(count);
  }
  const ReductionLayout layout{model::all_parameters(job.config.model).size(),
                               static_cast<std::size_t>(world_.world_size())};
  reduction_.resize(layout.size());
  squares_ =
      device::Buffer(backend, layout.num_parameters * sizeof(double), device::MemoryKind::kPinned);
  if (transport_.messages_hold_the_device_up()) run_every_pass();
}

void PipelineTrainer::make_executor() {
  executor_ = std::make_unique<Executor>(job_, transport_.rank(), model_, backend_, transport_,
                                         *stream_, tensor_group_or_null_.get());
}

void PipelineTrainer::run_every_pass() {
  for (const device::Buffer* tokens : {&tokens_, &targets_}) {
    if (tokens->bytes() == 0) continue;
    backend_.fill_async(tokens->bytes_pointer(), std::byte{0}, tokens->bytes(), *stream_);
  }
  executor_->warm_up(job_.training, training_tensors());
  stream_->synchronize();
}

void PipelineTrainer::record_passes() {
  executor_->record_passes(training_tensors());
  records_passes_ = true;
}

void PipelineTrainer::take_new_plan() {
  transport_.synchronize(*stream_);
  executor_.reset();  // before its memory is taken anew
  make_executor();
  if (records_passes_) executor_->record_passes(training_tensors());
}

void PipelineTrainer::initialise_parameters(std::uint64_t seed, int num_threads) {
  std::vector<float> whole;
  std::vector<float> host;
  for (model::Parameter& parameter : model_.parameters().all()) {
    whole.resize(static_cast<std::size_t>(parameter.slice.whole_count()));
    model::initialise(parameter.spec, seed, whole.data(), num_threads);
    host.assign(static_cast<std::size_t>(parameter.count()), 0.0F);  // padding is 0
    for_each_run(parameter.slice, [&](const SliceRun& run) {
      std::copy_n(whole.begin() + run.in_whole, run.count, host.begin() + run.in_slice);
    });
    backend_.copy_async(parameter.value, host.data(), host.size() * sizeof(float), *stream_);
    stream_->synchronize();
  }
  parameters_changed();
}

void PipelineTrainer::parameters_changed() {
  model_.parameters().round_copies(backend_, *stream_);
  stream_->synchronize();
}

void PipelineTrainer::load_batch(const HostBatch& batch) {
  const auto copy = [&](device::Buffer& to, const std::vector<std::int32_t>& from) {
    if (to.bytes() == 0) return;
    HALFPIPE_CHECK(from.size() * sizeof(std::int32_t) == to.bytes(), "a batch has the wrong size");
    backend_.copy_async(to.bytes_pointer(), from.data(), to.bytes(), *stream_);
  };
  copy(tokens_, batch.inputs);
  copy(targets_, batch.targets);
}

StepTensors PipelineTrainer::tensors(float loss_scale) const {
  return {tokens_.as<std::int32_t>(), targets_.as<std::int32_t>(), losses_.as<float>(), loss_scale};
}

StepTensors PipelineTrainer::training_tensors() const {
  return tensors(static_cast<float>(1.0 / num_tokens()));
}

double PipelineTrainer::num_tokens() const {
  return static_cast<double>(model_.tokens_per_step()) * num_replicas();
}

double PipelineTrainer::sum_of_losses(std::int64_t count) {
  if (!model_.has_last_stage() || tensor_rank() != 0) return 0.0;  // every tensor rank has them
  transport_.synchronize(*stream_);  // the copy to memory that is not pinned waits, too: unwatched
  backend_.copy_async(host_losses_.data(), losses_.bytes_pointer(), losses_.bytes(), *stream_);
  stream_->synchronize();
  double sum = 0.0;
  for (std::int64_t i = 0; i < count; ++i) sum += host_losses_[static_cast<std::size_t>(i)];
  return sum;
}

StepResult PipelineTrainer::step(std::int64_t step,
                                 double learning_rate,
                                 const HostBatch& batch,
                                 bool stop_requested) {
  stream_->record(*step_begin_);
  load_batch(batch);
  device::Buffer& gradients = model_.parameters().gradients();
  if (gradients.bytes() > 0) {
    backend_.fill_async(gradients.bytes_pointer(), std::byte{0}, gradients.bytes(), *stream_);
  }
  executor_->run(job_.training, training_tensors(), step);
  HALFPIPE_CHECK(executor_->live_bytes().current() == 0, "a step left saved tensors alive");
  measured_activations_ = static_cast<std::int64_t>(executor_->live_bytes().peak());
  publish_activity(transport_, step, "gradient norm");
  combine_tied_gradients();
  if (reduction_or_null_) {
    reduction_or_null_->run(*stream_, step);
  }
  if (shared_gradients_or_null_) shared_gradients_or_null_->sum(*stream_);

  const auto rank = static_cast<std::size_t>(world_.rank());
  const auto num_ranks = static_cast<std::size_t>(world_.world_size());
  const ReductionLayout layout{reduction_.size() - 2 - 2 * num_ranks, num_ranks};
  std::fill(reduction_.begin(), reduction_.end(), 0.0);
  const std::span sums(squares_.as<double>(), layout.num_parameters);
  std::ranges::fill(sums, 0.0);
  if (replica() == 0) {  // the others have the same
    optimizer::gradient_squares(model_.parameters(), backend_, executor_->workspace(), *stream_,
                                sums);
  }
  reduction_[layout.loss()] = sum_of_losses(model_.tokens_per_step());
  reduction_[layout.stop()] = stop_requested ? 1.0 : 0.0;
  transport_.synchronize(*stream_);
  std::ranges::copy(sums, reduction_.begin());
  executor_->read_times(*step_begin_);
  const SpanAndWork measured =
      measure(job_.training.ranks[static_cast<std::size_t>(pipeline_rank())].instructions,
              executor_->times());
  reduction_[layout.span(rank)] = measured.span;
  reduction_[layout.busy(rank)] = measured.busy;
  world_.all_reduce_sum(reduction_);

  double squares = 0.0;
  for (std::size_t i = 0; i < layout.num_parameters; ++i) squares += reduction_[i];
  const SpanAndWork step_times = longest(reduction_, layout);
  const StepResult result{reduction_[layout.loss()] / num_tokens(), std::sqrt(squares),
                          step_times.span, step_times.busy, reduction_[layout.stop()] > 0.0};
  if (!std::isfinite(result.loss) || !std::isfinite(result.grad_norm)) {
    throw AgreedError(
        fmt::format("step {}: the loss ({}) or the gradient norm ({}) is not finite; "
                    "lower optimizer.learning_rate or go back to an earlier checkpoint",
                    step + 1, result.loss, result.grad_norm),
        /*exit_code=*/1);
  }
  publish_activity(transport_, step, "optimizer step");
  const double factor =
      optimizer::clip_factor(result.grad_norm, job_.config.optimizer.clip_grad_norm);
  optimizer_->step(step + 1, learning_rate, factor, *stream_);
  stream_->synchronize();
  return result;
}

void PipelineTrainer::combine_tied_gradients() {
  if (!job_.config.model.tie_embeddings) return;
  model::Parameter* table = model_.parameters().find(model::kTokenEmbeddingName);
  if (table == nullptr) return;
  const std::size_t bytes = static_cast<std::size_t>(table->count()) * sizeof(float);
  if (model_.exchanges_tied_gradient()) {
    const int first = job_.placement.rank_of(0);
    const int last = job_.placement.rank_of(job_.placement.num_stages() - 1);
    const bool has_embedding = transport_.rank() == first;
    const int peer = has_embedding ? last : first;
    float* mine = has_embedding ? table->gradient : table->head_gradient;
    float* theirs = has_embedding ? table->head_gradient : table->gradient;
    const transport::Request receive =
        transport_.post_recv({reinterpret_cast<std::byte*>(theirs), bytes}, peer, *stream_);
    const transport::Request send =
        transport_.send({reinterpret_cast<const std::byte*>(mine), bytes}, peer, *stream_);
    transport_.wait(receive, *stream_);
    transport_.wait(send, *stream_);
    if (job_.config.debug.sync_kernels) transport_.synchronize(*stream_);  // as the executor does
  }
  backend_.ops().accumulate(
      {.dst = table->gradient, .src = table->head_gradient, .count = table->count()}, *stream_);
}

double PipelineTrainer::evaluate(const HostBatch& batch,
                                 std::int64_t num_targets,
                                 std::int64_t step) {
  load_batch(batch);
  executor_->run(job_.evaluation, tensors(0.0F), step);
  transport_.synchronize(*stream_);  // the caller may overwrite the batch
  double sum = sum_of_losses(num_targets);
  world_.all_reduce_sum({&sum, 1});
  return sum;
}

std::string PipelineTrainer::parameter_hash() {
  // Every rank tells the digests of what it owns, one "name digest" line each.
  HostWindow window(backend_, *stream_);
  std::string mine;
  for (const model::Parameter& parameter : model_.parameters().all()) {
    if (!parameter.owned) continue;
    mine += fmt::format("{} {}\n", parameter.spec.name,
                        parameter_digest(parameter, window, tensor_or_null_));
  }
  std::map<std::string, std::string> digests;
  for (const std::vector<std::byte>& part : transport_.all_gather(std::as_bytes(std::span(mine)))) {
    std::istringstream lines(std::string(reinterpret_cast<const char*>(part.data()), part.size()));
    for (std::string name, digest; lines >> name >> digest;) digests[name] = digest;
  }
  HALFPIPE_CHECK(digests.size() == model::all_parameters(job_.config.model).size(),
                 "the ranks do not hold every parameter once");
  std::string hash = checkpoint::parameter_hash(digests);
  check_same(hash, tensor_or_null_, "tensor ranks hold different parameters");
  check_same(hash, replicas_or_null_, "replicas hold different parameters");
  return hash;
}

RankMemory PipelineTrainer::measured_memory() const {
  RankMemory memory;
  memory.parameters = static_cast<std::int64_t>(model_.parameters().value_bytes() +
                                                model_.parameters().copy_bytes());
  memory.gradients = static_cast<std::int64_t>(model_.parameters().gradient_bytes());
  memory.optimizer = static_cast<std::int64_t>(optimizer_->bytes());
  memory.activations = measured_activations_;
  memory.activations_arena = static_cast<std::int64_t>(executor_->arena_bytes());
  memory.communication = static_cast<std::int64_t>(
      executor_->communication_bytes() + (reduction_or_null_ ? reduction_or_null_->bytes() : 0) +
      (shared_gradients_or_null_ ? shared_gradients_or_null_->bytes() : 0));
  memory.workspace = static_cast<std::int64_t>(executor_->workspace_bytes());
  memory.batch =
      static_cast<std::int64_t>(padded_bytes(tokens_.bytes()) + padded_bytes(targets_.bytes()) +
                                padded_bytes(losses_.bytes()));
  return memory;
}

}  // namespace halfpipe::runtime
