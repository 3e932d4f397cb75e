// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/training_loop.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <span>
#include <utility>

#include "engine/optimizer/learning_rate.h"
#include "engine/runtime/planning/throughput.h"
#include "engine/runtime/ranks/activity.h"
#include "engine/runtime/ranks/agreement.h"
#include "engine/runtime/step_trace.h"
#include "engine/runtime/training/checkpointing.h"
#include "engine/runtime/training/evaluation.h"
#include "engine/runtime/training/stop_signal.h"

namespace halfpipe::runtime {

namespace {

/// What is no number after so many other batches comes from the weights: they do not change.
constexpr int kMostSkippedInARow = 10;

std::int64_t peak_resident_bytes() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  constexpr std::int64_t kKibibyte = 1024;  // the unit of ru_maxrss on Linux
  return usage.ru_maxrss * kKibibyte;
}

bool is_due(std::int64_t steps_done, std::int64_t every) {
  return every > 0 && steps_done % every == 0;
}

}  // namespace

TrainingLoop::TrainingLoop(const TrainingInputs& inputs,
                           Job& job,
                           PipelineTrainer& trainer,
                           const RankGroups& groups)
    : inputs_(inputs),
      job_(job),
      trainer_(trainer),
      groups_(groups),
      transport_(groups.world()),
      store_(job.config.output.dir, job.config.output.keep),
      sampler_(job.config.train.seed,
               inputs.dataset->train->size(),
               job.config.model.seq_len,
               job.config.train.global_batch_size),
      sequences_(sequences_of(job.config, groups.place().data)),
      steps_done_(inputs.steps_done) {
  model_flops_ = model_flops_per_step(job.config);
  const auto own_tokens = static_cast<std::size_t>(sequences_.count * job.config.model.seq_len);
  if (trainer.has_first_stage()) batch_.inputs.resize(own_tokens);
  if (trainer.has_last_stage()) batch_.targets.resize(own_tokens);
  if (job.config.schedule.replan_after > 0) {
    replanner_.emplace(job, trainer, trainer.messages(), transport_);
  }
  if (job.config.output.asynchronous_checkpoints) {
    background_.emplace(trainer, groups,
                        [this](const CheckpointSave& save) { log_checkpoint(save); });
  }
}

void TrainingLoop::begin(const std::string& report) {
  agree(transport_, [&] {
    if (transport_.rank() != 0) return;
    // Checkpoints go before the records of their steps: after a crash in between, going on from
    // the newest one still cuts the records.
    const std::vector<std::string> moved = make_way();
    log_ = std::make_unique<trace::RunLog>(job_.config.output.dir, steps_done_);
    for (const std::string& warning : inputs_.warnings) log_->say("warning: " + warning);
    for (const std::string& name : moved) log_->say("warning: set aside: " + name);
    const std::int64_t steps_left = job_.config.train.steps - steps_done_;
    if (replanner_ && job_.config.schedule.replan_after >= steps_left) {
      log_->say(fmt::format(
          "warning: schedule.replan_after ({}) is not below the {} steps that are left: the orders "
          "stay as they are",
          job_.config.schedule.replan_after, steps_left));
    }
    log_->say(report);
  });
}

std::vector<std::string> TrainingLoop::make_way() {
  store_.clear_leftovers();
  std::vector<std::string> moved;
  if (!inputs_.resume_from) return moved;
  for (const auto& aside : store_.set_aside_after(steps_done_)) moved.push_back(aside.string());
  return moved;
}

void TrainingLoop::run() {
  const std::int64_t total = job_.config.train.steps;
  bool stop = false;
  while (steps_done_ < total && !stop) {
    stop = train_one_step();
    look_at_background();
    if (trainer_.has_open_step()) continue;  // nothing is due
    if (evaluation_is_due(steps_done_)) evaluate();
    if (stop || checkpoint_is_due(steps_done_)) save();
  }
  finish(stop);
}

void TrainingLoop::look_at_background() {
  if (!background_) return;
  try {
    background_->look();
  } catch (const AgreedError&) {
    (void)trainer_.complete();  // nothing may be under way when a rank leaves
    throw;
  }
}

bool TrainingLoop::checkpoint_is_due(std::int64_t steps_done) const {
  return steps_done == job_.config.train.steps ||
         is_due(steps_done, job_.config.output.checkpoint_every);
}

bool TrainingLoop::evaluation_is_due(std::int64_t steps_done) const {
  const std::int64_t every = job_.config.train.evaluate_every;
  const bool finished = steps_done == job_.config.train.steps;
  return inputs_.dataset->validation && every > 0 && (is_due(steps_done, every) || finished);
}

bool TrainingLoop::is_traced(std::int64_t step) const {
  // The third step of a run: the first two warm caches and pages up.
  return job_.config.output.trace &&
         step == std::min(inputs_.steps_done + 2, job_.config.train.steps - 1);
}

PipelineTrainer::Ending TrainingLoop::ending_of(std::int64_t step) const {
  const bool is_looked_at = !memory_is_checked_ || (replanner_ && !replanner_->is_done()) ||
                            is_traced(step) || is_traced(step + 1) || evaluation_is_due(step + 1) ||
                            checkpoint_is_due(step + 1);
  return is_looked_at ? PipelineTrainer::Ending::kNow : PipelineTrainer::Ending::kWithTheNext;
}

bool TrainingLoop::train_one_step() {
  const config::RunConfig& config = job_.config;
  const std::int64_t step = steps_done_ + static_cast<std::int64_t>(begun_.size());
  const double learning_rate = optimizer::learning_rate(config.optimizer, step, config.train.steps);
  publish_activity(transport_, step, "reading a batch");
  sampler_.fill(step, sequences_, *inputs_.dataset->train, batch_.inputs, batch_.targets);
  if (is_traced(step)) transport_.barrier();
  const auto start = std::chrono::steady_clock::now();
  const std::vector<StepResult> ended =
      trainer_.step_on(step, learning_rate, batch_, stop_requested(), ending_of(step));
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  begun_.push_back({learning_rate, elapsed.count()});
  bool stop = false;
  for (const StepResult& result : ended) stop |= end_step(result);
  if (!stop) return false;
  if (const auto last = trainer_.complete()) end_step(*last);
  return true;
}

bool TrainingLoop::end_step(const StepResult& result) {
  trainer_.refuse(steps_done_, result);
  const BegunStep begun = begun_.front();
  begun_.pop_front();
  ++steps_done_;
  count_exchange(result);
  if (!memory_is_checked_) check_memory();
  if (log_) log_->train(record_of(result, begun.learning_rate, begun.seconds));
  look_at_skipped(result);
  if (is_traced(steps_done_ - 1)) write_trace();
  look_at_plan(result);
  return result.stop_requested;
}

void TrainingLoop::count_exchange(const StepResult& result) {
  if (!log_ || job_.config.parallel.data == 1) return;
  // Parameters are those of the step before.
  const bool follows_a_step = !exposed_.gradients.empty();
  exposed_.gradients.push_back(result.exchange_seconds);
  if (job_.config.optimizer.zero_stage > 0 && follows_a_step) {
    exposed_.parameters.push_back(result.gather_seconds);
  }
}

void TrainingLoop::look_at_skipped(const StepResult& result) {
  if (!result.skipped) {
    skipped_in_a_row_ = 0;
    return;
  }
  const std::string what = fmt::format("the loss ({}) or the gradient norm ({}) is not finite",
                                       result.loss, result.grad_norm);
  if (log_) log_->say(fmt::format("step {} skipped: {}", steps_done_, what));
  if (++skipped_in_a_row_ < kMostSkippedInARow) return;
  (void)trainer_.complete();  // nothing may be under way when a rank leaves
  throw AgreedError(
      fmt::format("step {}: {}, in {} steps one after the other; lower optimizer.learning_rate or "
                  "go back to an earlier checkpoint",
                  steps_done_, what, skipped_in_a_row_),
      /*exit_code=*/1);
}

void TrainingLoop::look_at_plan(const StepResult& result) {
  // Not after the last step: nothing would come of it.
  if (!replanner_ || replanner_->is_done() || steps_done_ == job_.config.train.steps) return;
  publish_activity(transport_, steps_done_, "measuring and planning");
  transport_.set_timeout(0.0);  // the others wait for as long as rank 0 searches
  const std::string text = replanner_->after_step(result);
  transport_.set_timeout(job_.config.debug.timeout_seconds);
  if (replanner_->changed_plan()) memory_is_checked_ = false;
  if (log_ && !text.empty()) log_->say(text);
}

trace::StepRecord TrainingLoop::record_of(const StepResult& result,
                                          double learning_rate,
                                          double seconds) const {
  const config::RunConfig& config = job_.config;
  return {.step = steps_done_,
          .total_steps = config.train.steps,
          .loss = result.loss,
          .grad_norm = result.grad_norm,
          .learning_rate = learning_rate,
          .seconds = seconds,
          .tokens = config.tokens_per_step(),
          .model_flops = model_flops_,
          .bubble_fraction = result.bubble_fraction(),
          .peak_bytes = peak_bytes_};
}

void TrainingLoop::check_memory() {
  const RankMemory measured = measured_memory();
  RankMemory planned =
      plan_memory(job_, trainer_.backend())[static_cast<std::size_t>(groups_.place().pipeline)];
  if (background_) {  // other replicas save less than the first
    planned.checkpoint_copy = saved_bytes(trainer_.parameters().all(), trainer_.parts(),
                                          job_.config.optimizer.moments, groups_.place());
  }
  HALFPIPE_CHECK(measured == planned, "measured memory is not what was planned");
  std::vector<double> totals(static_cast<std::size_t>(transport_.world_size()), 0.0);
  totals[static_cast<std::size_t>(transport_.rank())] = static_cast<double>(measured.total());
  transport_.all_reduce_sum(totals);
  peak_bytes_ = static_cast<std::int64_t>(*std::max_element(totals.begin(), totals.end()));
  memory_is_checked_ = true;
}

RankMemory TrainingLoop::measured_memory() const {
  RankMemory memory = trainer_.measured_memory();
  if (background_) memory.checkpoint_copy = static_cast<std::int64_t>(background_->bytes());
  return memory;
}

void TrainingLoop::write_trace() {
  const auto ranks =
      gather_step_trace(job_.training, trainer_.instruction_times(), groups_.pipeline());
  if (!log_) return;
  const std::filesystem::path path = std::filesystem::path(job_.config.output.dir) / "trace.json";
  trace::write_chrome_trace(path, ranks);
  log_->say(fmt::format("timeline of step {} in {}", steps_done_, path.string()));
}

void TrainingLoop::evaluate() {
  const config::RunConfig& config = job_.config;
  const std::int64_t windows_wanted =
      static_cast<std::int64_t>(config.train.evaluate_batches) * config.train.global_batch_size;
  const data::EvaluationWindows windows(inputs_.dataset->validation->size(), config.model.seq_len,
                                        windows_wanted);
  const EvaluationResult result =
      evaluate_windows(trainer_, job_, *inputs_.dataset->validation, windows, steps_done_);
  if (log_) log_->validation(steps_done_, result.loss, result.num_tokens);
}

void TrainingLoop::save() {
  publish_activity(transport_, steps_done_, "parameter hash");
  parameter_hash_ = trainer_.parameter_hash();
  auto save = std::make_unique<CheckpointSave>(store_, trainer_, job_, inputs_, steps_done_,
                                               parameter_hash_, groups_);
  if (background_) {
    background_->start(std::move(save));
  } else {
    save_checkpoint(*save, trainer_, groups_);
    log_checkpoint(*save);
  }
}

void TrainingLoop::log_checkpoint(const CheckpointSave& save) {
  if (log_) log_->checkpoint(save.step(), save.directory(), save.parameter_hash());
}

void TrainingLoop::finish(bool stopped) {
  publish_activity(transport_, steps_done_, "end of the run");
  if (background_) background_->complete();
  if (parameter_hash_.empty()) parameter_hash_ = trainer_.parameter_hash();
  const std::vector<RankPeak> peaks = gather_peaks();
  const EarlySteps early = most_early_steps();
  if (!log_) return;
  if (stopped && steps_done_ < job_.config.train.steps) {
    log_->say(
        fmt::format("stopped by a signal after step {}; go on with --resume auto", steps_done_));
  }
  std::string lines = exposed_.gradients.empty() ? "" : exchange_line(exposed_);
  if (job_.config.steps_early()) {
    lines += early_line(early, steps_done_ - inputs_.steps_done);
  }
  log_->say(lines + end_report(peaks));
  trace::EndRecord record{steps_done_, parameter_hash_, {}, {}};
  for (const RankPeak& peak : peaks) {
    record.planned_bytes.push_back(peak.planned);
    record.peak_resident_bytes.push_back(peak.resident);
  }
  log_->end(record);
}

std::vector<RankPeak> TrainingLoop::gather_peaks() {
  const RankPeak mine{measured_memory().total(), peak_resident_bytes(), getpid()};
  std::vector<RankPeak> peaks;
  for (const auto& bytes : transport_.all_gather(std::as_bytes(std::span(&mine, 1)))) {
    std::memcpy(&peaks.emplace_back(), bytes.data(), sizeof(RankPeak));
  }
  return peaks;
}

EarlySteps TrainingLoop::most_early_steps() {
  const EarlySteps mine = trainer_.early_steps();
  std::vector<EarlySteps> all;
  for (const auto& bytes : transport_.all_gather(std::as_bytes(std::span(&mine, 1)))) {
    std::memcpy(&all.emplace_back(), bytes.data(), sizeof(EarlySteps));
  }
  return *std::ranges::max_element(
      all, {}, [](const EarlySteps& one) { return std::pair(one.put_back, one.begun); });
}

}  // namespace halfpipe::runtime
