// SPDX-License-Identifier: Apache-2.0
// Replicas on modelled devices that all run: what is exposed of their exchange, against the bytes
// of the links and the passes before; memory as planned.
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <string>

#include "engine/runtime/modelled_ranks.h"
#include "engine/runtime/pipeline_trainer.h"
#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/planning/outside_passes.h"
#include "engine/runtime/ranks/mesh_of.h"
#include "engine/runtime/ranks/rank_count.h"
#include "engine/runtime/step_benchmark.h"
#include "kernels/core/error.h"
#include "tests/engine/runtime/modelled_job.h"

namespace halfpipe::runtime {
namespace {

constexpr double kRounding = 1e-6;  // a nanosecond for each operation and message

/// Passes of milliseconds; links of 0.1 ms + 2e-7 s per byte between machines of one rank each, so
/// that the exchange of a rank takes tens of milliseconds.
config::RunConfig job_of(const std::string& schedule, int data, int pipeline, int zero_stage) {
  config::HardwareProfile profile = only_products();
  profile.float32 = {4e8, 1.0};
  profile.ranks_per_machine = 1;
  profile.between_machines = {1e-4, {5e6, 1.0}};
  config::RunConfig config = modelled_config(schedule, pipeline, profile);
  config.parallel.data = data;
  config.model.tie_embeddings = false;
  config.optimizer.zero_stage = zero_stage;
  return config;
}

struct Measured {
  StepBenchmark benchmark;
  std::vector<RankMemory> planned;
  double busiest_adapter;
  OutsidePasses outside;
  schedule::Timeline timeline;  // as planned
};

Measured measure(const config::RunConfig& config, const BenchmarkSteps& steps = {1, 3}) {
  const Job job = make_job(config);
  std::mutex mutex;
  std::optional<Measured> result;
  on_modelled_ranks(
      config,
      [&](device::Backend& backend, const TrainerTransports& transports) {
        EXPECT_EQ(transports.num_replicas(), config.parallel.data);
        const StepBenchmark mine = benchmark_steps(job, steps, 1, backend, transports);
        const std::lock_guard lock(mutex);
        if (result) {
          EXPECT_EQ(mine.memory, result->benchmark.memory);
          ASSERT_EQ(mine.exposed.has_value(), result->benchmark.exposed.has_value());
          if (mine.exposed) {
            EXPECT_EQ(mine.exposed->total(), result->benchmark.exposed->total());
          }
          return;
        }
        result =
            Measured{mine, plan_memory(job, backend), busiest_adapter_seconds(job),
                     outside_passes(job), schedule::simulate(orders_of(job.training), job.costs)};
      },
      RunningReplicas::kAll);
  return *result;
}

// Its gradients are final after its last pass, and its first pass waits for all its parameters.
TEST(ModelledExchange, OneChunkOnARankHidesNothingOnTheFirstOne) {
  for (const int zero_stage : {0, 1}) {
    SCOPED_TRACE(zero_stage);
    const Measured run = measure(job_of("1f1b", 2, 2, zero_stage));
    ASSERT_TRUE(run.benchmark.exposed);
    EXPECT_GT(run.busiest_adapter, 10e-3);
    EXPECT_GE(run.benchmark.exposed->total(), run.busiest_adapter - kRounding);
    EXPECT_EQ(run.benchmark.exposed->parameters > 0.0, zero_stage == 1);
    EXPECT_EQ(run.benchmark.memory, run.planned);
    EXPECT_GE(run.benchmark.median().seconds, run.timeline.span + run.busiest_adapter - kRounding);
  }
}

TEST(ModelledExchange, WhatAnotherChunkLeavesTimeForGoesBehindItsPasses) {
  for (const int zero_stage : {0, 1}) {
    SCOPED_TRACE(zero_stage);
    config::RunConfig config = job_of("interleaved", 2, 2, zero_stage);
    config.model.num_layers = 8;
    // Longer than a host is late by.
    config.device.profile->float32 = {5e7, 1.0};
    config.device.profile->between_machines = {1e-4, {2.5e6, 1.0}};
    const Measured run = measure(config, {0, 2});
    EXPECT_EQ(run.benchmark.memory, run.planned);
    // What is left is half: gradients of the chunk that ends last, and parameters of the one that
    // begins first.
    EXPECT_LT(run.benchmark.exposed->total(), 0.7 * run.busiest_adapter);
    EXPECT_GT(run.benchmark.exposed->total(), 0.4 * run.busiest_adapter);
  }
}

TEST(ModelledExchange, SeveralReplicasElsewhereShareTheWayToThem) {
  for (const int zero_stage : {0, 1}) {
    SCOPED_TRACE(zero_stage);
    const Measured run = measure(job_of("1f1b", 4, 1, zero_stage));
    EXPECT_GE(run.benchmark.exposed->total(), run.busiest_adapter - kRounding);
    EXPECT_EQ(run.benchmark.memory, run.planned);
  }
}

TEST(ModelledExchange, SumsTakeTheTimeOfTheDevice) {
  config::RunConfig config = job_of("1f1b", 2, 1, /*zero_stage=*/0);
  config.device.profile->memory = {2e7, 1.0};
  const ReplicaParts parts = replica_parts(config, RankModel(make_job(config), 0));
  ASSERT_EQ(parts.buckets.size(), 1U);
  const GradientBucket& bucket = parts.buckets.front();
  const auto most = static_cast<double>(std::max(bucket.part(0).count(), bucket.part(1).count()));
  // To the replica that adds it up, two reads and a write, and back.
  const double expected = 2.0 * (1e-4 + 4.0 * most / 5e6) + 12.0 * most / 2e7;
  EXPECT_GE(measure(config, {0, 1}).benchmark.exposed->gradients, expected - kRounding);
}

TEST(ModelledExchange, StepsInARowMeasureWhatSingleOnesDo) {
  for (const int zero_stage : {0, 1}) {
    SCOPED_TRACE(zero_stage);
    config::RunConfig config = job_of("1f1b", 2, 2, zero_stage);
    config.optimizer.post_validation = "on";
    const Measured run = measure(config);
    EXPECT_EQ(run.benchmark.memory, run.planned);
    EXPECT_GE(run.benchmark.exposed->total(), run.busiest_adapter - kRounding);
    // The last rank, which has the head, works most; rank 0 has to know.
    double most = 0.0;
    for (const auto& passes : run.timeline.ranks) {
      double work = 0.0;
      for (const schedule::TimedPass& pass : passes) work += pass.end - pass.start;
      most = std::max(most, work);
    }
    EXPECT_GE(run.benchmark.median().work_seconds, most - kRounding);
  }
}

// A step says of the one before how long its parameters took: there is none.
TEST(ModelledExchange, OneStepAloneDoesNotKnowAllOfASharedOptimizers) {
  EXPECT_FALSE(measure(job_of("1f1b", 2, 1, /*zero_stage=*/1), {0, 1}).benchmark.exposed);
  EXPECT_TRUE(measure(job_of("1f1b", 2, 1, /*zero_stage=*/0), {0, 1}).benchmark.exposed);
}

TEST(ModelledExchange, OnePipelineThatStandsForAllExposesNothing) {
  const config::RunConfig config = job_of("1f1b", 2, 2, /*zero_stage=*/0);
  const Job job = make_job(config);
  on_modelled_ranks(config, [&](device::Backend& backend, const TrainerTransports& transports) {
    EXPECT_EQ(transports.replicas_or_null, nullptr);
    const StepBenchmark measured = benchmark_steps(job, {0, 1}, 1, backend, transports);
    EXPECT_FALSE(measured.exposed);
    EXPECT_EQ(measured.memory, plan_memory(job, backend));
    EXPECT_GE(measured.median().seconds, outside_passes(job).exchange);
  });
}

TEST(ModelledExchange, ReplicasShareAnAdapterWithinAMachineAndOneBetweenMachines) {
  config::RunConfig config = job_of("1f1b", 4, 1, /*zero_stage=*/0);
  config.device.profile->ranks_per_machine = 2;
  const auto links = replica_links_from(*config.device.profile, mesh_of(config.parallel), 0, 1);
  EXPECT_EQ(links[0].latency_seconds, 1e-3);  // ranks 0 1 | 2 3
  EXPECT_EQ(links[2].latency_seconds, 1e-4);
  EXPECT_EQ(links[2].adapter, links[3].adapter);
  EXPECT_NE(links[0].adapter, links[2].adapter);
  // Tensor ranks put every replica on a machine of its own.
  config.parallel.tensor = 2;
  const auto apart = replica_links_from(*config.device.profile, mesh_of(config.parallel), 0, 1);
  EXPECT_EQ(apart[0].latency_seconds, 1e-4);
}

TEST(ModelledRankCount, IsThatOfOnePipelineOrOfAll) {
  config::RunConfig config = job_of("1f1b", 3, 2, /*zero_stage=*/0);
  config.parallel.tensor = 2;  // whose ranks are never there
  EXPECT_EQ(check_modelled_rank_count(config, 2), 1);
  EXPECT_EQ(check_modelled_rank_count(config, 6), 3);
  for (const int other : {1, 3, 4, 12}) {
    EXPECT_THROW(static_cast<void>(check_modelled_rank_count(config, other)), ConfigError);
  }
  config.parallel.data = 1;
  EXPECT_EQ(check_modelled_rank_count(config, 2), 1);
  EXPECT_THROW(static_cast<void>(check_modelled_rank_count(config, 4)), ConfigError);
}

}  // namespace
}  // namespace halfpipe::runtime
