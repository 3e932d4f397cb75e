// SPDX-License-Identifier: Apache-2.0
// Measured costs, and plans made of them.
#include "engine/runtime/planning/replan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/runtime/measured_costs.h"
#include "engine/runtime/pass_times.h"
#include "engine/runtime/pipeline_trainer.h"
#include "engine/runtime/replanner.h"
#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"
#include "tests/engine/runtime/modelled_job.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

using schedule::OpKind;

/// 4e9 floating-point operations per second: passes of small_config take tens of microseconds.
config::HardwareProfile quick_profile() {
  config::HardwareProfile profile = only_products();
  profile.float32 = {4e9, 1.0};
  return profile;
}

TEST(PassTimes, AreMediansOverMicroBatchesAndSteps) {
  schedule::RankPlan program;
  const auto add = [&](OpKind kind, int chunk) {
    schedule::Instruction instruction{kind};
    instruction.stage = 4 * chunk;
    instruction.chunk = chunk;
    instruction.micro_batch = 0;
    program.instructions.push_back(instruction);
  };
  add(OpKind::kForward, 0);
  add(OpKind::kSend, 0);
  program.instructions.back().message = 0;
  add(OpKind::kForward, 1);
  add(OpKind::kBackwardWeight, 1);
  PassTimes times(program, 2);
  times.add({{0.0, 1.0}, {1.0, 50.0}, {50.0, 52.0}, {52.0, 55.0}});
  times.add({{0.0, 3.0}, {3.0, 50.0}, {50.0, 52.5}, {52.5, 152.5}});
  times.add({{10.0, 12.0}, {12.0, 50.0}, {50.0, 51.0}, {51.0, 55.0}});
  const std::vector<PassTimes::StageTimes> medians = times.medians();
  ASSERT_EQ(medians.size(), 2U);
  EXPECT_EQ(medians[0], (PassTimes::StageTimes{2.0, 0.0, 0.0}));
  EXPECT_EQ(medians[1], (PassTimes::StageTimes{2.0, 0.0, 4.0}));
}

TEST(MeasuredCosts, AreThoseOfTheDeviceOnEveryRank) {
  const config::RunConfig config = modelled_config("v-half", 4, quick_profile());
  const Job job = make_job(config);
  std::mutex mutex;
  std::vector<schedule::CostModel> of_ranks;
  on_modelled_ranks(config, [&](device::Backend& backend, const TrainerTransports& transports) {
    PipelineTrainer trainer(job, backend, transports);
    PassTimes times(job.training.ranks[static_cast<std::size_t>(transports.pipeline.rank())], 2);
    for (int step = 0; step < 3; ++step) {
      static_cast<void>(trainer.step(step, 0.0, small_batch(config, step), false));
      times.add(trainer.instruction_times());
    }
    const schedule::CostModel costs = measure_costs(job, times, backend, transports.pipeline);
    const std::lock_guard lock(mutex);
    of_ranks.push_back(costs);
  });
  ASSERT_EQ(of_ranks.size(), 4U);
  constexpr double kClock = 1e-7;  // a nanosecond for each operation of a pass
  for (const schedule::CostModel& costs : of_ranks) {
    for (std::size_t stage = 0; stage < job.costs.stages.size(); ++stage) {
      for (const schedule::Pass pass : {schedule::Pass::kForward, schedule::Pass::kBackwardInput,
                                        schedule::Pass::kBackwardWeight}) {
        // Never less than the model; a host that is late may add to it.
        EXPECT_GE(costs.stages[stage].seconds(pass),
                  job.costs.stages[stage].seconds(pass) - kClock);
        EXPECT_EQ(costs.stages[stage].seconds(pass), of_ranks.front().stages[stage].seconds(pass));
      }
      EXPECT_EQ(costs.stages[stage].forward_to_backward_weight_bytes,
                job.costs.stages[stage].forward_to_backward_weight_bytes);
    }
    for (const schedule::Message& message : job.training.messages) {
      const double seconds = costs.message_seconds_between(message.src_rank, message.dst_rank);
      EXPECT_GE(seconds,
                job.costs.message_seconds_between(message.src_rank, message.dst_rank) - kClock);
      EXPECT_EQ(seconds,
                of_ranks.front().message_seconds_between(message.src_rank, message.dst_rank));
    }
  }
}

TEST(MeasuredCosts, OfSeveralPipelinesAreTheirMeans) {
  transport::LocalGroup group(4);  // two pipelines of two ranks
  std::vector<schedule::CostModel> means(4);
  {
    std::vector<std::jthread> ranks;
    for (std::size_t rank = 0; rank < means.size(); ++rank) {
      ranks.emplace_back([&, rank] {
        const auto world = group.make_transport(static_cast<int>(rank));
        schedule::CostModel costs = schedule::uniform_costs(2);
        const double seconds = rank < 2 ? 1.0 : 3.0;
        costs.stages[0].forward_seconds = seconds;
        costs.stages[1].backward_weight_seconds = 10.0 * seconds;
        costs.links.assign(2, std::vector<schedule::LinkCost>(2));
        costs.links[0][1].latency_seconds = 0.5 * seconds;
        means[rank] = mean_costs(costs, *world);
      });
    }
  }
  for (const schedule::CostModel& mean : means) {
    EXPECT_EQ(mean.stages[0].forward_seconds, 2.0);
    EXPECT_EQ(mean.stages[0].backward_input_seconds, 1.0);
    EXPECT_EQ(mean.stages[1].backward_weight_seconds, 20.0);
    EXPECT_EQ(mean.links[0][1].latency_seconds, 1.0);
  }
}

TEST(MeasuredTimes, CountFromTheBeginningOfTheStep) {
  config::HardwareProfile profile = quick_profile();
  profile.memory = {1e8, 1.0};  // the gradients of a rank take 0.1 ms and more to be zeroed
  const config::RunConfig config = modelled_config("1f1b", 2, profile);
  const Job job = make_job(config);
  on_modelled_ranks(config, [&](device::Backend& backend, const TrainerTransports& transports) {
    PipelineTrainer trainer(job, backend, transports);
    static_cast<void>(trainer.step(0, 0.0, small_batch(config, 0), false));
    const double zeroing =
        static_cast<double>(trainer.measured_memory().gradients) / profile.memory.reached();
    EXPECT_GT(zeroing, 1e-4);
    EXPECT_GE(trainer.instruction_times().front().start, zeroing);
  });
}

/// What rank 3 is slow at: orders for equal passes wait for it.
schedule::CostModel with_slow_rank(const Job& job) {
  schedule::CostModel costs = job.costs;
  for (int chunk = 0; chunk < job.placement.num_chunks(); ++chunk) {
    schedule::StageCost& stage =
        costs.stages[static_cast<std::size_t>(job.placement.stage_of(3, chunk))];
    stage.forward_seconds *= 2.0;
    stage.backward_input_seconds *= 3.0;
    stage.backward_weight_seconds *= 0.5;
  }
  return costs;
}

TEST(Replan, FindsBetterOrdersInTheSameMemoryForEveryRank) {
  for (const char* name : {"v-half", "auto"}) {
    SCOPED_TRACE(name);
    config::RunConfig config = small_config(name, 4);
    config.model.num_layers = 8;
    config.schedule.search_evaluations = 50000;
    if (config.schedule.name == "auto") config.schedule.memory_limit = "70%";
    transport::LocalGroup group(4);
    std::vector<ReplanResult> results(4);
    const Job job = make_job(config);
    const schedule::CostModel costs = with_slow_rank(job);
    {
      std::vector<std::jthread> ranks;
      for (int rank = 0; rank < 4; ++rank) {
        ranks.emplace_back([&, rank] {
          const auto transport = group.make_transport(rank);
          transport->set_timeout(60.0);
          results[static_cast<std::size_t>(rank)] = replan(job, costs, *transport);
        });
      }
    }
    ASSERT_TRUE(results[0].plan.has_value());
    EXPECT_LT(results[0].expected->makespan, results[0].before.makespan);
    for (std::size_t rank = 0; rank < 4; ++rank) {
      EXPECT_EQ(*results[rank].plan, *results[0].plan);
      const std::int64_t arena = results[0].plan->ranks[rank].arena_bytes;
      const std::int64_t before = job.training.ranks[rank].arena_bytes;
      const std::int64_t allowed =
          job.search ? std::max(before, job.search->memory_limit[rank]) : before;
      EXPECT_LE(arena, allowed);
    }
    EXPECT_EQ(results[0].plan->schedule_name, job.training.schedule_name);
  }
}

TEST(Replan, LeavesOrdersThatNothingBeats) {
  config::RunConfig config = small_config("v-half", 1);
  config.schedule.search_evaluations = 2000;
  const Job job = make_job(config);
  transport::LocalGroup group(1);
  const auto transport = group.make_transport(0);
  const ReplanResult result = replan(job, job.costs, *transport);
  EXPECT_FALSE(result.plan.has_value());
  EXPECT_FALSE(result.expected.has_value());
}

TEST(Replanner, ChangesThePlanOnceAndNoBitOfTheResult) {
  config::RunConfig config = small_config("v-half", 4);
  config.model.num_layers = 8;
  config.schedule.exact = true;
  const RunRecord plain = run_locally(config, 6);
  // The textbook order, which a search for any real costs beats.
  config.schedule.exact = false;
  config.schedule.search_evaluations = 50000;
  config.schedule.replan_after = 2;
  transport::LocalGroup group(4);
  std::vector<std::vector<double>> losses(4);
  std::vector<int> changes(4, 0);
  std::vector<std::string> lines(4);
  std::vector<std::string> hashes(4);
  {
    std::vector<std::jthread> ranks;
    for (int rank = 0; rank < 4; ++rank) {
      ranks.emplace_back([&, rank] {
        const auto index = static_cast<std::size_t>(rank);
        const auto transport = group.make_transport(rank);
        transport->set_timeout(60.0);
        const auto backend = cpu::make_cpu_backend(1);
        config::RunConfig textbook = config;
        textbook.schedule.exact = true;
        Job job = make_job(textbook);
        job.config = config;
        PipelineTrainer trainer(job, *backend, *transport);
        trainer.initialise_parameters(config.train.seed, 1);
        Replanner replanner(job, trainer, *transport, *transport);
        for (int step = 0; step < 6; ++step) {
          const StepResult result =
              trainer.step(step, config.optimizer.learning_rate, small_batch(config, step), false);
          losses[index].push_back(result.loss);
          lines[index] += replanner.after_step(result);
          changes[index] += replanner.changed_plan() ? 1 : 0;
          EXPECT_EQ(trainer.measured_memory(), plan_memory(job, *backend)[index]) << step;
        }
        hashes[index] = trainer.parameter_hash();
      });
    }
  }
  for (std::size_t rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(losses[rank], plain.losses);
    EXPECT_EQ(hashes[rank], plain.parameter_hash);
    EXPECT_EQ(changes[rank], changes[0]);
    EXPECT_NE(lines[rank].find("replan after 2 steps"), std::string::npos) << lines[rank];
    EXPECT_NE(lines[rank].find("present orders: span "), std::string::npos) << lines[rank];
  }
  EXPECT_LE(changes[0], 1);
  const bool compared = lines[0].find("replanned steps: span ") != std::string::npos;
  EXPECT_EQ(compared, changes[0] == 1) << lines[0];
}

// Every pipeline measures for itself; all get one plan, and gradients are exchanged in its order.
TEST(Replanner, GivesEveryPipelineTheSamePlan) {
  config::RunConfig config = small_config("v-half", 2);
  config.model.num_layers = 8;
  config.model.num_heads = 4;
  config.parallel.data = 2;
  config.parallel.tensor = 2;
  config.optimizer.zero_stage = 1;
  config.schedule.exact = true;
  const RunRecord plain = run_locally(config, 6);
  config.schedule.replan_after = 2;
  config.schedule.search_evaluations = 50000;
  std::mutex mutex;
  std::vector<schedule::Plan> plans;
  const auto train = [&](Job& job, PipelineTrainer& trainer, const RankGroups& groups) {
    job.config.schedule.exact = false;  // the textbook order, which a search may beat
    trainer.initialise_parameters(config.train.seed, 1);
    Replanner replanner(job, trainer, trainer.messages(), groups.world());
    std::vector<double> losses;
    for (int step = 0; step < 6; ++step) {
      const StepResult result = small_step(trainer, config, step);
      losses.push_back(result.loss);
      static_cast<void>(replanner.after_step(result));
    }
    EXPECT_TRUE(replanner.is_done());
    EXPECT_EQ(losses, plain.losses);
    EXPECT_EQ(trainer.parameter_hash(), plain.parameter_hash);
    const std::lock_guard lock(mutex);
    plans.push_back(job.training);
  };
  on_every_rank(make_job(config), 1, train);
  ASSERT_EQ(plans.size(), 8U);
  for (const schedule::Plan& plan : plans) EXPECT_EQ(plan, plans.front());
}

}  // namespace
}  // namespace halfpipe::runtime
