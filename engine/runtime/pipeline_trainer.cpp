// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/pipeline_trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <sstream>

#include "engine/checkpoint/parameter_hash.h"
#include "engine/runtime/lone_tensor_group.h"
#include "engine/runtime/planning/modelled_tensor_group.h"
#include "engine/runtime/ranks/agreement.h"
#include "engine/runtime/state/host_window.h"
#include "engine/runtime/state/parameter_digest.h"
#include "engine/runtime/transport_tensor_group.h"
#include "kernels/core/align.h"
#include "kernels/core/error.h"

namespace halfpipe::runtime {

namespace {

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
      transports_(transports),
      transport_(transports.pipeline),
      stream_(backend.make_stream("compute")),
      step_begin_(backend.make_event()),
      model_(job, transport_.rank(), transports.tensor_rank()) {
  model_.allocate(backend);
  if (transports.tensor_or_null != nullptr) {
    tensor_group_or_null_ = std::make_unique<TransportTensorGroup>(
        *transports.tensor_or_null, backend, job.config.debug.sync_kernels);
  } else if (job.config.parallel.tensor > 1) {
    tensor_group_or_null_ = std::make_unique<ModelledTensorGroup>(job.config);
  }
  optimizer_step_ = std::make_unique<OptimizerStep>(job, model_, backend, transports_, *stream_,
                                                    tensor_group_or_null_.get());
  make_executor();
  const auto count = static_cast<std::size_t>(model_.tokens_per_step());
  if (model_.has_first_stage()) tokens_ = device::Buffer(backend, count * sizeof(std::int32_t));
  if (model_.has_last_stage()) {
    targets_ = device::Buffer(backend, count * sizeof(std::int32_t));
    losses_ = device::Buffer(backend, count * sizeof(float));
    host_losses_.resize(count);
  }
}

void PipelineTrainer::make_executor() {
  executor_ = std::make_unique<Executor>(job_, transport_.rank(), model_, backend_, transport_,
                                         *stream_, tensor_group_or_null_.get());
}

void PipelineTrainer::run_every_pass() {
  warm_up(tensor_group_or_null_.get());
}

void PipelineTrainer::run_every_pass_alone() {
  LoneTensorGroup alone(model_.parameters().shard(), backend_);
  warm_up(&alone);
}

void PipelineTrainer::warm_up(model::TensorGroup* tensor_or_null) {
  for (const device::Buffer* tokens : {&tokens_, &targets_}) {
    if (tokens->bytes() == 0) continue;
    backend_.fill_async(tokens->bytes_pointer(), std::byte{0}, tokens->bytes(), *stream_);
  }
  executor_->warm_up(job_.training, training_tensors(), tensor_or_null);
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
  optimizer_step_->take_new_plan();
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

std::vector<StepResult> PipelineTrainer::step_on(std::int64_t step,
                                                 double learning_rate,
                                                 const HostBatch& batch,
                                                 bool stop_requested,
                                                 Ending ending) {
  std::vector<StepResult> ended;
  stream_->record(*step_begin_);
  load_batch(batch);
  if (const auto before = run_passes(step)) ended.push_back(*before);
  HALFPIPE_CHECK(executor_->live_bytes().current() == 0, "a step left saved tensors alive");
  measured_activations_ = static_cast<std::int64_t>(executor_->live_bytes().peak());
  optimizer_step_->complete_gradients(executor_->workspace());
  const RankShare mine = share_of_this_rank(stop_requested);
  if (ending == Ending::kWithTheNext && optimizer_step_->can_show()) {
    optimizer_step_->show(mine, learning_rate);
    open_ = {step, learning_rate};
    return ended;
  }
  const StepResult result = result_of(optimizer_step_->agree(mine));
  if (!result.skipped) optimizer_step_->apply(learning_rate, result.grad_norm);
  if (ending == Ending::kNow) optimizer_step_->complete_parameters();
  ended.push_back(result);
  return ended;
}

std::optional<StepResult> PipelineTrainer::run_passes(std::int64_t step) {
  const Executor::Hooks hooks{
      .before = [&](std::size_t i) { optimizer_step_->before_instruction(i); },
      .after = [&](std::size_t i) { optimizer_step_->after_instruction(i); }};
  if (!open_) {
    optimizer_step_->begin(step);
    executor_->run(job_.training, training_tensors(), step, hooks);
    return std::nullopt;
  }
  StepResult before{};
  executor_->run_after({.settle =
                            [&] {
                              before = result_of(optimizer_step_->settle());
                              if (!is_as_shown(before)) return false;
                              optimizer_step_->take_shown(open_->learning_rate);
                              optimizer_step_->begin(step);
                              return true;
                            },
                        .put_right =
                            [&] {
                              put_open_step_right(before);
                              optimizer_step_->begin(step);
                            }},
                       training_tensors(), step, hooks);
  open_.reset();
  return before;
}

std::optional<StepResult> PipelineTrainer::complete() {
  std::optional<StepResult> result;
  if (open_) {
    result = result_of(optimizer_step_->settle());
    if (is_as_shown(*result)) {
      optimizer_step_->take_shown(open_->learning_rate);
    } else {
      put_open_step_right(*result);
    }
    open_.reset();
  }
  optimizer_step_->complete_parameters();
  return result;
}

bool PipelineTrainer::is_as_shown(const StepResult& result) {
  const bool is_right = optimizer_step_->look_at_norm(result.grad_norm);
  return is_right && !result.skipped;
}

void PipelineTrainer::put_open_step_right(const StepResult& result) {
  if (!result.skipped) {
    optimizer_step_->put_right(open_->learning_rate, result.grad_norm);
    return;
  }
  optimizer_step_->take_back();
  optimizer_step_->complete_parameters();
  const std::int64_t step = open_->step;
  if (job_.config.optimizer.not_finite == "stop") open_.reset();
  refuse(step, result);
}

RankShare PipelineTrainer::share_of_this_rank(bool stop_requested) {
  RankShare mine{.loss = sum_of_losses(model_.tokens_per_step()), .stop_requested = stop_requested};
  transport_.synchronize(*stream_);
  executor_->read_times(*step_begin_);
  const SpanAndWork measured =
      measure(job_.training.ranks[static_cast<std::size_t>(pipeline_rank())].instructions,
              executor_->times());
  mine.span = measured.span;
  mine.busy = measured.busy;
  return mine;
}

StepResult PipelineTrainer::result_of(const StepTotals& totals) const {
  StepResult result{.loss = totals.loss / num_tokens(),
                    .grad_norm = totals.norm,
                    .span_seconds = totals.span,
                    .work_seconds = totals.busy,
                    .exchange_seconds = totals.exchange,
                    .gather_seconds = totals.gather,
                    .stop_requested = totals.stop_requested,
                    .skipped = false};
  result.skipped = !std::isfinite(result.loss) || !std::isfinite(result.grad_norm);
  return result;
}

void PipelineTrainer::refuse(std::int64_t step, const StepResult& result) const {
  if (!result.skipped || job_.config.optimizer.not_finite != "stop") return;
  throw AgreedError(fmt::format("step {}: the loss ({}) or the gradient norm ({}) is not finite; "
                                "lower optimizer.learning_rate or go back to an earlier checkpoint",
                                step + 1, result.loss, result.grad_norm),
                    /*exit_code=*/1);
}

double PipelineTrainer::evaluate(const HostBatch& batch,
                                 std::int64_t num_targets,
                                 std::int64_t step) {
  load_batch(batch);
  executor_->run(job_.evaluation, tensors(0.0F), step);
  transport_.synchronize(*stream_);  // the caller may overwrite the batch
  double sum = sum_of_losses(num_targets);
  transports_.world.all_reduce_sum({&sum, 1});
  return sum;
}

std::string PipelineTrainer::parameter_hash() {
  // Every rank tells the digests of what it owns, one "name digest" line each.
  HostWindow window(backend_, *stream_);
  std::string mine;
  for (const model::Parameter& parameter : model_.parameters().all()) {
    if (!parameter.owned) continue;
    mine += fmt::format("{} {}\n", parameter.spec.name,
                        parameter_digest(parameter, window, transports_.tensor_or_null));
  }
  std::map<std::string, std::string> digests;
  for (const std::vector<std::byte>& part : transport_.all_gather(std::as_bytes(std::span(mine)))) {
    std::istringstream lines(std::string(reinterpret_cast<const char*>(part.data()), part.size()));
    for (std::string name, digest; lines >> name >> digest;) digests[name] = digest;
  }
  HALFPIPE_CHECK(digests.size() == model::all_parameters(job_.config.model).size(),
                 "the ranks do not hold every parameter once");
  std::string hash = checkpoint::parameter_hash(digests);
  check_same(hash, transports_.tensor_or_null, "tensor ranks hold different parameters");
  check_same(hash, transports_.replicas_or_null, "replicas hold different parameters");
  return hash;
}

RankMemory PipelineTrainer::measured_memory() const {
  RankMemory memory;
  memory.parameters = static_cast<std::int64_t>(model_.parameters().value_bytes() +
                                                model_.parameters().copy_bytes());
  memory.gradients = static_cast<std::int64_t>(model_.parameters().gradient_bytes());
  memory.optimizer = static_cast<std::int64_t>(optimizer_step_->bytes());
  memory.activations = measured_activations_;
  memory.activations_arena = static_cast<std::int64_t>(executor_->arena_bytes());
  memory.communication = static_cast<std::int64_t>(executor_->communication_bytes() +
                                                   optimizer_step_->communication_bytes());
  memory.workspace = static_cast<std::int64_t>(executor_->workspace_bytes());
  memory.batch =
      static_cast<std::int64_t>(padded_bytes(tokens_.bytes()) + padded_bytes(targets_.bytes()) +
                                padded_bytes(losses_.bytes()));
  return memory;
}

}  // namespace halfpipe::runtime
