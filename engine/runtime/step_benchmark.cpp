// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step_benchmark.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>

#include "engine/runtime/median.h"
#include "engine/runtime/pipeline_trainer.h"
#include "engine/runtime/planning/outside_passes.h"
#include "engine/runtime/planning/rank_model.h"
#include "engine/runtime/ranks/activity.h"
#include "engine/runtime/ranks/agreement.h"
#include "engine/runtime/step/gradient_exchange.h"
#include "engine/runtime/tuning.h"
#include "kernels/core/philox.h"
#include "kernels/modelled/modelled_stream.h"

namespace halfpipe::runtime {

namespace {

using Times = std::vector<InstructionTime>;

// A step of thousands of instructions takes their times 16 bytes each.
constexpr std::size_t kMostTimelines = 64;

/// What a rank is fed: what the tokens are changes no time.
HostBatch random_batch(const Job& job, const PipelineTrainer& trainer) {
  const config::RunConfig& config = job.config;
  const int sequences = config.train.global_batch_size / config.parallel.data;
  const auto count =
      static_cast<std::size_t>(sequences) * static_cast<std::size_t>(config.model.seq_len);
  const auto draw = [&](std::uint64_t stream) {
    std::vector<std::int32_t> tokens(count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t word = philox(config.train.seed, i, stream)[0];
      tokens[i] =
          static_cast<std::int32_t>(word % static_cast<std::uint32_t>(config.model.vocab_size));
    }
    return tokens;
  };
  HostBatch batch;
  if (trainer.has_first_stage()) batch.inputs = draw(0);
  if (trainer.has_last_stage()) batch.targets = draw(1);
  return batch;
}

/// One value of each rank, in rank order.
template <typename Value>
std::vector<Value> gather(const Value& mine, transport::Transport& transport) {
  std::vector<Value> all;
  for (const auto& bytes : transport.all_gather(std::as_bytes(std::span(&mine, 1)))) {
    std::memcpy(&all.emplace_back(), bytes.data(), sizeof(Value));
  }
  return all;
}

std::size_t median_index(const std::vector<MeasuredStep>& steps) {
  std::vector<std::size_t> order(steps.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t one, std::size_t other) {
    return steps[one].seconds < steps[other].seconds;
  });
  return order[(order.size() - 1) / 2];
}

/// What the exchange of gradients with replicas that are not there takes on this rank.
struct ModelledReplicas {
  double exchange_seconds = 0.0;
  std::int64_t bytes = 0;  // of the buckets under way
};

ModelledReplicas modelled_replicas(const Job& job, const TrainerTransports& transports) {
  const bool all_run = transports.num_replicas() == job.config.parallel.data;
  if (!is_modelled(job.config.device) || all_run) return {};
  const RankModel model(job, transports.pipeline.rank());
  const ReplicaParts parts = replica_parts(job.config, model);
  return {exchange_seconds(job.config, parts),
          static_cast<std::int64_t>(
              GradientExchange::bytes_for(parts.buckets, job.config.parallel.data))};
}

/// Of each pipeline rank, the one of its replica that takes most.
std::vector<RankMemory> gather_memory(const RankMemory& mine, const TrainerTransports& transports) {
  struct OfRank {
    int pipeline_rank;
    RankMemory memory;
  };
  std::vector<RankMemory> most(static_cast<std::size_t>(transports.pipeline.world_size()));
  for (const OfRank& rank : gather(OfRank{transports.pipeline.rank(), mine}, transports.world)) {
    RankMemory& fullest = most[static_cast<std::size_t>(rank.pipeline_rank)];
    if (rank.memory.total() > fullest.total()) fullest = rank.memory;
  }
  return most;
}

/// Among the first `count` steps.
std::size_t nearest_to(double seconds, const std::vector<MeasuredStep>& steps, std::size_t count) {
  std::size_t nearest = 0;
  for (std::size_t i = 1; i < count; ++i) {
    if (std::abs(steps[i].seconds - seconds) < std::abs(steps[nearest].seconds - seconds)) {
      nearest = i;
    }
  }
  return nearest;
}

/// Times count from where a barrier has lined the ranks up.
schedule::Timeline gather_timeline(const Job& job,
                                   const Times& mine,
                                   const MeasuredStep& step,
                                   transport::Transport& pipeline) {
  schedule::Timeline timeline;
  double first = 0.0;
  double last = 0.0;
  bool any = false;
  const auto parts = pipeline.all_gather(std::as_bytes(std::span(mine)));
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    Times times(parts[rank].size() / sizeof(InstructionTime));
    std::memcpy(times.data(), parts[rank].data(), parts[rank].size());
    std::vector<schedule::TimedPass>& passes = timeline.ranks.emplace_back();
    const auto& instructions = job.training.ranks[rank].instructions;
    for (std::size_t i = 0; i < instructions.size(); ++i) {
      const auto op = schedule::pass_of(instructions[i]);
      if (!op) continue;
      passes.push_back({*op, times[i].start, times[i].end});
      first = any ? std::min(first, times[i].start) : times[i].start;
      last = std::max(last, times[i].end);
      any = true;
    }
  }
  for (auto& passes : timeline.ranks) {
    for (schedule::TimedPass& pass : passes) {
      pass.start -= first;
      pass.end -= first;
    }
  }
  timeline.span = step.span_seconds;
  timeline.makespan = last - first;
  timeline.bubble_fraction = 1.0 - step.work_seconds / step.span_seconds;
  timeline.bubble_fraction_makespan = 1.0 - step.work_seconds / timeline.makespan;
  return timeline;
}

class Series {
 public:
  Series(const Job& job,
         const BenchmarkSteps& steps,
         PipelineTrainer& trainer,
         const TrainerTransports& transports)
      : job_(job),
        steps_(steps),
        trainer_(trainer),
        world_(transports.world),
        batch_(random_batch(job, trainer)),
        replicas_(modelled_replicas(job, transports)) {}

  void run() {
    if (job_.config.steps_early() || waits_for_parameters_late()) {
      run_in_a_row();
    } else {
      run_one_by_one();
    }
    for (MeasuredStep& mine : measured_) {
      for (const MeasuredStep& other : gather(mine, world_)) {
        mine.seconds = std::max(mine.seconds, other.seconds);
        mine.host_cpu_seconds = std::max(mine.host_cpu_seconds, other.host_cpu_seconds);
      }
    }
  }
  [[nodiscard]] const std::vector<MeasuredStep>& measured() const { return measured_; }
  /// Of the first measured steps, since the barrier before them.
  [[nodiscard]] const std::vector<Times>& times() const { return times_; }
  [[nodiscard]] const ModelledReplicas& replicas() const { return replicas_; }
  [[nodiscard]] std::optional<ExposedSeconds> exposed() const {
    const bool knows_all = job_.config.optimizer.zero_stage == 0 || !parameters_.empty();
    if (trainer_.num_replicas() == 1 || !knows_all) return std::nullopt;
    return ExposedSeconds{.gradients = median_of(gradients_), .parameters = median_of(parameters_)};
  }

 private:
  [[nodiscard]] int num_steps() const { return steps_.warm_up + steps_.measured; }
  /// Parameters that other replicas have stepped come while the next step's passes run.
  [[nodiscard]] bool waits_for_parameters_late() const {
    return job_.config.optimizer.zero_stage > 0 && trainer_.num_replicas() > 1;
  }

  void run_one_by_one() {
    for (int i = 0; i < num_steps(); ++i) {
      line_up(i);
      begin_step();
      const StepResult step =
          trainer_.step(i, /*learning_rate=*/0.0, batch_, /*stop_requested=*/false);
      end_step(i);
      if (i >= steps_.warm_up) add(step, i);
    }
  }

  /// A step lasts from where the one before has sent its share of the norm to where it has.
  void run_in_a_row() {
    std::vector<StepResult> results;
    line_up(0);
    for (int i = 0; i < num_steps(); ++i) {
      begin_step();
      const auto ended =
          trainer_.step_on(i, /*learning_rate=*/0.0, batch_, /*stop_requested=*/false,
                           PipelineTrainer::Ending::kWithTheNext);
      results.insert(results.end(), ended.begin(), ended.end());
      end_step(i);
    }
    if (const auto last = trainer_.complete()) results.push_back(*last);
    for (int i = steps_.warm_up; i < num_steps(); ++i) {
      add(results[static_cast<std::size_t>(i)], i);
    }
  }

  void line_up(int step) {
    publish_activity(world_, step, "waiting for the others");
    // The first barrier may end a millisecond apart, after a long wait; the second does not.
    world_.barrier();
    world_.barrier();
    lined_up_ = std::chrono::steady_clock::now();
  }

  void begin_step() { begun_ = std::chrono::steady_clock::now(); }

  void end_step(int step) {
    if (replicas_.exchange_seconds > 0.0) {
      modelled::sleep_until(modelled::later(modelled::Clock::now(), replicas_.exchange_seconds));
    }
    if (step < steps_.warm_up) return;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begun_;
    seconds_.push_back({elapsed.count(), 0.0, 0.0, trainer_.host_cpu_seconds()});
    if (times_.size() >= kMostTimelines) return;
    const std::chrono::duration<double> offset = begun_ - lined_up_;
    Times& times = times_.emplace_back(trainer_.instruction_times());
    for (InstructionTime& time : times) {
      time.start += offset.count();
      time.end += offset.count();
    }
  }

  void add(const StepResult& result, int step) {
    gradients_.push_back(result.exchange_seconds);
    if (step > 0) parameters_.push_back(result.gather_seconds);  // those of the step before
    MeasuredStep& mine = measured_.emplace_back(seconds_[measured_.size()]);
    mine.span_seconds = result.span_seconds;
    mine.work_seconds = result.work_seconds;
  }

  const Job& job_;
  BenchmarkSteps steps_;
  PipelineTrainer& trainer_;
  transport::Transport& world_;
  HostBatch batch_;
  ModelledReplicas replicas_;
  std::chrono::steady_clock::time_point lined_up_;
  std::chrono::steady_clock::time_point begun_;  // the present step
  std::vector<MeasuredStep> seconds_;            // without what its result says
  std::vector<MeasuredStep> measured_;
  std::vector<double> gradients_;   // exposed, seconds
  std::vector<double> parameters_;  // the same
  std::vector<Times> times_;
};

}  // namespace

const MeasuredStep& StepBenchmark::median() const {
  return steps[median_index(steps)];
}

StepBenchmark benchmark_steps(const Job& job,
                              const BenchmarkSteps& steps,
                              int num_threads,
                              device::Backend& backend,
                              const TrainerTransports& transports,
                              const std::optional<checkpoint::TunedRecord>& tuned) {
  PipelineTrainer trainer(job, backend, transports);
  if (transports.pipeline.messages_hold_the_device_up()) trainer.run_every_pass();
  if (!is_modelled(job.config.device)) {
    trainer.initialise_parameters(job.config.train.seed, num_threads);
  }

  StepBenchmark result;
  if (job.config.device.tune) {
    Tuning tuning = tune(trainer, transports.world, tuned);
    result.tuning = std::move(tuning.report);
    result.tuned = std::move(tuning.record);
  }
  if (job.config.device.cuda_graphs) {
    agree(transports.world, [&] { trainer.run_every_pass(); });
    agree(transports.world, [&] { trainer.record_passes(); });
  }
  Series series(job, steps, trainer, transports);
  series.run();
  result.steps = series.measured();
  RankMemory memory = trainer.measured_memory();
  memory.communication += series.replicas().bytes;
  result.memory = gather_memory(memory, transports);
  result.exposed = series.exposed();
  const std::size_t shown =
      nearest_to(result.median().seconds, result.steps, series.times().size());
  result.timeline =
      gather_timeline(job, series.times()[shown], result.steps[shown], transports.pipeline);
  return result;
}

}  // namespace halfpipe::runtime
