// SPDX-License-Identifier: Apache-2.0
// Tensor ranks and the sharded optimizer on modelled devices: times against sums by hand, memory as
// planned.
#include <gtest/gtest.h>

#include "engine/model/model_cost.h"
#include "engine/runtime/optimizer_step.h"
#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/planning/modelled_tensor_group.h"
#include "engine/runtime/planning/outside_passes.h"
#include "engine/runtime/planning/rank_model.h"
#include "engine/runtime/planning/stage_costs.h"
#include "engine/runtime/ranks/fan.h"
#include "engine/runtime/ranks/mesh_of.h"
#include "engine/runtime/step/shared_gradients.h"
#include "engine/runtime/step_benchmark.h"
#include "kernels/modelled/modelled_backend.h"
#include "kernels/modelled/modelled_stream.h"
#include "parallel/transport/local_group.h"
#include "tests/engine/runtime/modelled_job.h"

namespace halfpipe::runtime {
namespace {

/// Links of 1 ms + 1e-6 s per byte within machines of two ranks, 2 ms + 1e-5 s between them.
config::RunConfig job_of(int tensor, int pipeline = 1) {
  config::HardwareProfile profile = only_products();
  profile.float32 = {1e9, 1.0};
  config::RunConfig config = modelled_config("1f1b", pipeline, profile);
  config.model.num_heads = 4;
  config.parallel.tensor = tensor;
  return config;
}

double exchanged(int tensor, double part_bytes) {
  return tensor == 2 ? 1e-3 + part_bytes * 1e-6         // the other one is near
                     : 2e-3 + 2.0 * part_bytes * 1e-5;  // of three others two are far
}

TEST(ModelledTensorRanks, ExchangeWithinThePasses) {
  constexpr double kTokens = 2.0 * 12.0;
  constexpr double kRounding = 1e-12;  // sums in another order
  for (const int tensor : {2, 4}) {
    for (const bool again : {true, false}) {
      SCOPED_TRACE(::testing::Message() << tensor << " ranks, again " << again);
      config::RunConfig config = job_of(tensor);
      config.parallel.gather_again = again;
      const int blocks = config.model.num_layers;
      const schedule::StageCost cost =
          stage_costs(config, model::make_stage_map(config.model, {blocks})).stages.front();
      const model::BlockFlops block = model::block_flops(config.model, 2);
      // 29 rows of the vocabulary are cut into multiples of 8.
      const double rows = tensor == 2 ? 16.0 : 8.0;
      const double head = model::head_forward_flops(config.model, 2) * rows / 29.0 / 1e9;
      const double activations = exchanged(tensor, kTokens / tensor * 24.0 * 4.0);
      const double statistics = exchanged(tensor, kTokens * 3.0 * 4.0);
      const auto products = [&](double flops) { return blocks * flops / tensor / 1e9; };
      // Four times a block; the embedding's sum; the head's rows and statistics.
      EXPECT_NEAR(cost.forward_seconds,
                  products(block.forward) + head + (4 * blocks + 2) * activations + statistics,
                  kRounding);
      // The head's rows once more where they are not kept, and the sum of its gradient.
      EXPECT_NEAR(cost.backward_input_seconds,
                  products(block.backward_input) + 2.0 * head +
                      (4 * blocks + (again ? 3 : 2)) * activations,
                  kRounding);
      EXPECT_NEAR(cost.backward_weight_seconds,
                  products(block.backward_weight) + (again ? 4 * blocks : 0) * activations,
                  kRounding);
    }
  }
}

TEST(ModelledTensorRanks, AreAsFarApartAsTheOrderOfTheMeshPutsThem) {
  config::RunConfig config = job_of(2, 2);
  const auto near = [&](parallel::Axis axis) {
    return fan_along(axis, mesh_of(config.parallel), *config.device.profile).near;
  };
  EXPECT_EQ(near(parallel::Axis::kTensor), 1);  // ranks 0 1 | 2 3
  config.parallel.order = "tensor-data-pipeline";
  EXPECT_EQ(near(parallel::Axis::kTensor), 0);  // ranks 0 2, 1 3
  EXPECT_EQ(near(parallel::Axis::kPipeline), 1);
  config.device.profile->ranks_per_machine = 3;  // 0 1 2 | 3: one pair is apart
  EXPECT_EQ(near(parallel::Axis::kTensor), 0);
  config.device.profile->ranks_per_machine = 4;
  EXPECT_EQ(near(parallel::Axis::kTensor), 1);
}

TEST(ModelledTensorRanks, StandBetweenTheRanksOfThePipeline) {
  config::RunConfig config = job_of(2, 4);
  const auto latency = [&](int other) {
    return links_from(*config.device.profile, mesh_of(config.parallel),
                      1)[static_cast<std::size_t>(other)]
        .latency_seconds;
  };
  EXPECT_EQ(latency(0), 2e-3);  // ranks 0 1 | 2 3: neighbours are on two machines
  config.device.profile->ranks_per_machine = 4;
  EXPECT_EQ(latency(0), 1e-3);
  EXPECT_EQ(latency(2), 2e-3);
}

TEST(ModelledTensorRanks, ReplicasAreFartherApartForThem) {
  config::RunConfig config = job_of(1);
  config.parallel.data = 2;
  const auto far = [&] {
    return fan_along(parallel::Axis::kData, mesh_of(config.parallel), *config.device.profile).far;
  };
  EXPECT_EQ(far(), 0);
  config.parallel.tensor = 2;
  EXPECT_EQ(far(), 1);
}

TEST(ModelledTensorRanks, SumWhatTheyAllHoldAsTheDeviceDoes) {
  config::RunConfig config = job_of(4);
  config.device.profile->memory = {1e9, 1.0};
  config.device.profile->op_seconds = 1e-6;
  const Job job = make_job(config);
  const auto backend = modelled::make_work_counter(device_model_of(config));
  RankModel model(job, 0);
  model.allocate(*backend);
  ModelledTensorGroup group(config);
  SharedGradients shared(model.parameters(), *backend, group);
  modelled::ModelledStream stream;
  shared.sum(stream);
  constexpr double kRounding = 1e-12;  // sums in another order
  EXPECT_NEAR(shared_gradient_seconds(config, model.parameters().all()), stream.work_seconds(),
              kRounding);
  EXPECT_EQ(outside_passes(job).shared_gradients,
            shared_gradient_seconds(config, model.parameters().all()));
  EXPECT_GT(outside_passes(job).total(),
            outside_passes(job).update + outside_passes(job).exchange + 2e-3);
  EXPECT_EQ(outside_passes(make_job(job_of(1))).shared_gradients, 0.0);
}

TEST(ModelledShards, StepTheirElementsAndMakeEveryCopyAnew) {
  config::RunConfig config = job_of(1, 2);
  config.device.profile->memory = {1e7, 1.0};
  config.model.dtype = DType::kBFloat16;
  config.parallel.data = 2;
  const OutsidePasses whole = outside_passes(make_job(config));
  config.optimizer.zero_stage = 1;
  const Job job = make_job(config);
  const OutsidePasses sharded = outside_passes(job);
  EXPECT_EQ(sharded.exchange, whole.exchange);  // parameters in place of sums: as many bytes
  const RankModel model(job, 0);
  const auto parts = replica_parts(config, model);
  const std::vector<model::Parameter>& all = model.parameters().all();
  config.optimizer.zero_stage = 0;
  const double full = update_seconds(config, all, {optimizer::all_elements(all)});
  double copies = 0.0;  // 4 bytes read and 2 written
  double not_stepped = 0.0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    copies += 6.0 * static_cast<double>(all[i].count()) / 1e7;
    const auto others = static_cast<double>(all[i].count() - num_elements(parts.stepped_by(0)[i]));
    // AdamW: 16 bytes read and 12 written, a copy of 2; the norm reads 4 of what the rank owns.
    not_stepped += (30.0 + (all[i].owned ? 4.0 : 0.0)) * others / 1e7;
  }
  config.optimizer.zero_stage = 1;
  EXPECT_NEAR(update_seconds(config, all, parts.stepped_by(0)), full + copies - not_stepped, 1e-12);
}

TEST(ModelledShards, TheOptimizerStepTakesWhatIsPlanned) {
  config::RunConfig config = job_of(2);
  config.device.profile->memory = {1e9, 1.0};
  config.device.profile->op_seconds = 1e-6;
  config.model.dtype = DType::kBFloat16;
  config.parallel.data = 2;
  config.optimizer.zero_stage = 1;
  const Job job = make_job(config);
  const auto backend = modelled::make_modelled_backend(device_model_of(config));
  transport::LocalGroup ranks(1);
  const auto transport = ranks.make_transport(0);
  RankModel model(job, 0);
  model.allocate(*backend);
  ModelledTensorGroup group(config);
  modelled::ModelledStream stream;
  device::Arena workspace(nullptr, 0);
  OptimizerStep step(job, model, *backend, {*transport, *transport, nullptr}, stream, &group);
  step.begin(0);
  step.complete_gradients(workspace);
  static_cast<void>(step.agree({}));
  step.apply(1e-3, 1.0);
  const std::vector<model::Parameter>& all = model.parameters().all();
  constexpr double kRounding = 1e-12;  // sums in another order
  EXPECT_NEAR(stream.work_seconds(),
              update_seconds(config, all, step.parts().stepped_by(0)) +
                  shared_gradient_seconds(config, all),
              kRounding);
}

TEST(ModelledTensorRanks, TakeTheMemoryOfThePlanAndNoLessThanItsTime) {
  for (const bool again : {true, false}) {
    config::RunConfig config = job_of(2, 2);
    config.parallel.gather_again = again;
    config.parallel.data = 2;
    config.optimizer.zero_stage = 1;
    config.device.profile->within_machine = {1e-5, {1e9, 1.0}};
    config.device.profile->between_machines = {1e-5, {1e9, 1.0}};
    const Job job = make_job(config);
    on_modelled_ranks(config, [&](device::Backend& backend, const TrainerTransports& transports) {
      const StepBenchmark measured =
          benchmark_steps(job, {.warm_up = 0, .measured = 1}, 1, backend, transports);
      EXPECT_EQ(measured.memory, plan_memory(job, backend));
      const double planned = schedule::simulate(orders_of(job.training), job.costs).makespan +
                             outside_passes(job).total();
      constexpr double kRounding = 1e-6;  // a nanosecond for each operation
      EXPECT_GE(measured.median().seconds, planned - kRounding);
    });
  }
}

}  // namespace
}  // namespace halfpipe::runtime
