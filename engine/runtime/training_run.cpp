// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training_run.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "engine/checkpoint/resume.h"
#include "engine/data/dataset.h"
#include "engine/data/sampler.h"
#include "engine/model/model_cost.h"
#include "engine/optimizer/learning_rate.h"
#include "engine/runtime/agreement.h"
#include "engine/runtime/checkpointing.h"
#include "engine/runtime/evaluation.h"
#include "engine/runtime/resume_rules.h"
#include "engine/runtime/start_report.h"
#include "engine/runtime/step_trace.h"
#include "engine/runtime/stop_signal.h"
#include "engine/runtime/training_inputs.h"
#include "engine/trace/run_log.h"

namespace halfpipe::runtime {

namespace {

/// What a rank has once its inputs are read and checked.
struct Inputs {
  config::RunConfig config;
  std::optional<data::Dataset> dataset;
  std::optional<std::filesystem::path> resume_from;
  std::vector<std::string> warnings;
  std::int64_t steps_done = 0;
};

void check_rank_count(const config::RunConfig& config, int world_size) {
  const config::ParallelConfig& parallel = config.parallel;
  const int wanted = parallel.data * parallel.tensor * parallel.pipeline;
  if (wanted == world_size) return;
  throw ConfigError(fmt::format(
      "parallel.pipeline ({}): the configuration wants {} rank{}, this job has {}; start it "
      "with mpirun -n {}, or in one process with --local-ranks {}",
      parallel.pipeline, wanted, wanted == 1 ? "" : "s", world_size, wanted, wanted));
}

Inputs read_inputs(const TrainingRequest& request, const transport::Transport& transport) {
  Inputs inputs;
  inputs.config = request.load_config();
  check_rank_count(inputs.config, transport.world_size());
  inputs.dataset = open_training_data(inputs.config);
  return inputs;
}

/// Rank 0 makes the output folder and decides what to resume from; the others follow.
void prepare_output(Inputs& inputs,
                    const TrainingRequest& request,
                    transport::Transport& transport) {
  std::vector<std::byte> message;
  agree(transport, [&] {
    if (transport.rank() != 0) return;
    checkpoint::CheckpointStore store(inputs.config.output.dir, inputs.config.output.keep);
    store.prepare();
    std::string choice;
    if (request.resume) {
      const checkpoint::ResumePoint point =
          checkpoint::resolve_resume(inputs.config.output.dir, *request.resume);
      inputs.warnings = point.warnings;
      if (point.directory) choice = point.directory->string();
    } else if (!checkpoint::list_checkpoints(inputs.config.output.dir).empty()) {
      throw ConfigError(fmt::format(
          "output.dir ({}) holds checkpoints of an earlier run: go on with --resume, or "
          "choose another folder",
          inputs.config.output.dir));
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(choice.data());
    message.assign(bytes, bytes + choice.size());
  });
  transport.broadcast(message, 0);
  if (message.empty()) return;
  inputs.resume_from = std::string(reinterpret_cast<const char*>(message.data()), message.size());
  agree(transport, [&] {
    const checkpoint::TrainerState state = checkpoint::read_trainer_state(*inputs.resume_from);
    inputs.steps_done = state.step;
    const std::vector<std::string> notes = check_resume(inputs.config, state, *inputs.resume_from);
    if (transport.rank() != 0) return;
    inputs.warnings.insert(inputs.warnings.end(), notes.begin(), notes.end());
    checkpoint::CheckpointStore store(inputs.config.output.dir, inputs.config.output.keep);
    for (const auto& aside : store.set_aside_after(state.step)) {
      inputs.warnings.push_back("set aside: " + aside.string());
    }
  });
}

std::int64_t peak_resident_bytes() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  constexpr std::int64_t kKibibyte = 1024;  // the unit of ru_maxrss on Linux
  return usage.ru_maxrss * kKibibyte;
}

/// The loop over steps and what surrounds a step.
class TrainingLoop {
 public:
  TrainingLoop(const Inputs& inputs,
               const Job& job,
               PipelineTrainer& trainer,
               transport::Transport& transport)
      : inputs_(inputs),
        job_(job),
        trainer_(trainer),
        transport_(transport),
        store_(job.config.output.dir, job.config.output.keep),
        sampler_(job.config.train.seed,
                 inputs.dataset->train->size(),
                 job.config.model.seq_len,
                 job.config.train.global_batch_size),
        steps_done_(inputs.steps_done) {
    const auto tokens = static_cast<std::size_t>(job.config.train.global_batch_size) *
                        static_cast<std::size_t>(job.config.model.seq_len);
    if (trainer.has_first_stage()) batch_.inputs.resize(tokens);
    if (trainer.has_last_stage()) batch_.targets.resize(tokens);
  }

  /// Opens the logs and says how the run begins.
  void begin(const std::string& report) {
    agree(transport_, [&] {
      if (transport_.rank() != 0) return;
      log_ = std::make_unique<trace::RunLog>(job_.config.output.dir, steps_done_);
      for (const std::string& warning : inputs_.warnings) log_->say("warning: " + warning);
      log_->say(report);
    });
  }

  void run() {
    const std::int64_t total = job_.config.train.steps;
    bool stop = false;
    while (steps_done_ < total && !stop) {
      stop = train_one_step();
      const bool last = steps_done_ == total || stop;
      if (evaluation_is_due(last)) evaluate();
      if (last || is_due(job_.config.output.checkpoint_every)) save();
    }
    finish(stop);
  }

 private:
  [[nodiscard]] bool is_due(std::int64_t every) const {
    return every > 0 && steps_done_ % every == 0;
  }
  [[nodiscard]] bool evaluation_is_due(bool last) const {
    const std::int64_t every = job_.config.train.evaluate_every;
    const bool finished = last && steps_done_ == job_.config.train.steps;
    return inputs_.dataset->validation && every > 0 && (is_due(every) || finished);
  }

  bool train_one_step() {
    const config::RunConfig& config = job_.config;
    const double learning_rate =
        optimizer::learning_rate(config.optimizer, steps_done_, config.train.steps);
    sampler_.fill(steps_done_, {0, config.train.global_batch_size}, *inputs_.dataset->train,
                  batch_.inputs, batch_.targets);
    // The third step of a run: the first two warm caches and pages up.
    const bool traced = config.output.trace &&
                        steps_done_ == std::min(inputs_.steps_done + 2, config.train.steps - 1);
    if (traced) transport_.barrier();
    const auto start = std::chrono::steady_clock::now();
    const StepResult result = trainer_.step(steps_done_, learning_rate, batch_, stop_requested());
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    ++steps_done_;
    if (steps_done_ == inputs_.steps_done + 1) check_memory();
    if (log_) log_->train(record_of(result, learning_rate, elapsed.count()));
    if (traced) write_trace();
    return result.stop_requested;
  }

  [[nodiscard]] trace::StepRecord record_of(const StepResult& result,
                                            double learning_rate,
                                            double seconds) const {
    const config::RunConfig& config = job_.config;
    const std::int64_t tokens =
        static_cast<std::int64_t>(config.train.global_batch_size) * config.model.seq_len;
    return {.step = steps_done_,
            .total_steps = config.train.steps,
            .loss = result.loss,
            .grad_norm = result.grad_norm,
            .learning_rate = learning_rate,
            .seconds = seconds,
            .tokens = tokens,
            .model_flops = model::model_flops_per_token(config.model) * static_cast<double>(tokens),
            .bubble_fraction = result.bubble_fraction,
            .peak_bytes = peak_bytes_};
  }

  /// Planned equals measured, kind by kind, on every rank: checked after the first step of every
  /// run.
  void check_memory() {
    const RankMemory measured = trainer_.measured_memory();
    const RankMemory planned =
        plan_memory(job_, trainer_.backend())[static_cast<std::size_t>(transport_.rank())];
    HALFPIPE_CHECK(measured == planned, "measured memory is not what was planned");
    std::vector<double> totals(static_cast<std::size_t>(transport_.world_size()), 0.0);
    totals[static_cast<std::size_t>(transport_.rank())] = static_cast<double>(measured.total());
    transport_.all_reduce_sum(totals);
    peak_bytes_ = static_cast<std::int64_t>(*std::max_element(totals.begin(), totals.end()));
  }

  void write_trace() {
    const auto ranks = gather_step_trace(job_.training, trainer_.instruction_times(), transport_);
    if (!log_) return;
    const std::filesystem::path path = std::filesystem::path(job_.config.output.dir) / "trace.json";
    trace::write_chrome_trace(path, ranks);
    log_->say(fmt::format("timeline of step {} in {}", steps_done_, path.string()));
  }

  void evaluate() {
    const config::RunConfig& config = job_.config;
    const std::int64_t windows_wanted =
        static_cast<std::int64_t>(config.train.evaluate_batches) * config.train.global_batch_size;
    const data::EvaluationWindows windows(inputs_.dataset->validation->size(), config.model.seq_len,
                                          windows_wanted);
    const EvaluationResult result =
        evaluate_windows(trainer_, job_, *inputs_.dataset->validation, windows, steps_done_);
    if (log_) log_->validation(steps_done_, result.loss, result.num_tokens);
  }

  void save() {
    parameter_hash_ = trainer_.parameter_hash();
    const std::filesystem::path path =
        save_checkpoint(store_, trainer_, job_, inputs_.dataset->vocabulary, steps_done_,
                        parameter_hash_, transport_);
    if (log_) log_->checkpoint(steps_done_, path, parameter_hash_);
  }

  void finish(bool stopped) {
    if (parameter_hash_.empty()) parameter_hash_ = trainer_.parameter_hash();
    const std::vector<trace::RankPeak> peaks = gather_peaks();
    if (!log_) return;
    if (stopped && steps_done_ < job_.config.train.steps) {
      log_->say(
          fmt::format("stopped by a signal after step {}; go on with --resume auto", steps_done_));
    }
    log_->end(steps_done_, parameter_hash_, peaks);
  }

  [[nodiscard]] std::vector<trace::RankPeak> gather_peaks() {
    const trace::RankPeak mine{trainer_.measured_memory().total(), peak_resident_bytes()};
    std::vector<trace::RankPeak> peaks;
    for (const auto& bytes : transport_.all_gather(std::as_bytes(std::span(&mine, 1)))) {
      std::memcpy(&peaks.emplace_back(), bytes.data(), sizeof(trace::RankPeak));
    }
    return peaks;
  }

  const Inputs& inputs_;
  const Job& job_;
  PipelineTrainer& trainer_;
  transport::Transport& transport_;
  std::unique_ptr<trace::RunLog> log_;  // rank 0 only
  checkpoint::CheckpointStore store_;
  data::BatchSampler sampler_;
  HostBatch batch_;
  std::int64_t steps_done_;
  std::int64_t peak_bytes_ = 0;
  std::string parameter_hash_;
};

void load_parameters(const Inputs& inputs,
                     PipelineTrainer& trainer,
                     transport::Transport& transport) {
  const config::RunConfig& config = inputs.config;
  agree(transport, [&] {
    if (inputs.resume_from) {
      load_checkpoint(*inputs.resume_from, trainer);
    } else if (!config.model.init_from.empty()) {
      load_initial_parameters(config.model.init_from, config.model, trainer);
    } else {
      trainer.initialise_parameters(config.train.seed);
    }
  });
  if (!inputs.resume_from) return;
  const std::string hash = trainer.parameter_hash();
  const std::string saved = checkpoint::read_trainer_state(*inputs.resume_from).parameter_hash;
  agree(transport, [&] {
    if (hash == saved) return;
    throw FileError(fmt::format("{}: the parameters have hash {}, trainer.json says {}",
                                inputs.resume_from->string(), hash, saved));
  });
}

}  // namespace

int resolve_threads_per_rank(const config::DeviceConfig& device, int ranks_on_this_host) {
  if (device.threads_per_rank > 0) return device.threads_per_rank;
  if (const char* text = std::getenv("OMP_NUM_THREADS"); text != nullptr) {
    const int threads = std::atoi(text);
    if (threads > 0) return threads;
  }
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return std::max(1, cores / ranks_on_this_host);
}

void run_training(const TrainingRequest& request, transport::Transport& transport) {
  Inputs inputs;
  agree(transport, [&] { inputs = read_inputs(request, transport); });
  transport.set_timeout(inputs.config.debug.timeout_seconds);
  prepare_output(inputs, request, transport);

  std::optional<Job> job;
  agree(transport, [&] {
    if (transport.rank() == 0) job = make_job(inputs.config);
  });
  job = agree_on_job(inputs.config, transport);

  const int threads =
      resolve_threads_per_rank(inputs.config.device, transport.ranks_on_this_host());
  std::unique_ptr<device::Backend> backend;
  std::unique_ptr<PipelineTrainer> trainer;
  agree(transport, [&] {
    backend = request.make_backend(inputs.config.device, threads);
    trainer = std::make_unique<PipelineTrainer>(*job, *backend, transport);
  });
  load_parameters(inputs, *trainer, transport);

  std::unique_ptr<TrainingLoop> loop;
  agree(transport,
        [&] { loop = std::make_unique<TrainingLoop>(inputs, *job, *trainer, transport); });
  loop->begin(start_report(*job, plan_memory(*job, *backend), threads));
  loop->run();
}

}  // namespace halfpipe::runtime
