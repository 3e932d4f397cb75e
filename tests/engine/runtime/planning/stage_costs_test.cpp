// SPDX-License-Identifier: Apache-2.0
// What stages cost on modelled devices: the passes' own operations, added up.
#include "engine/runtime/planning/stage_costs.h"

#include <gtest/gtest.h>

#include "engine/model/model_cost.h"
#include "engine/runtime/planning/choose_schedule.h"
#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/planning/stage_layout.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/simulate.h"
#include "tests/engine/runtime/modelled_job.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

TEST(StageCosts, AreTheFloatingPointOperationsOfTheModel) {
  const config::RunConfig config = modelled_config("v-half", 4, only_products());
  const std::int64_t B = config.train.micro_batch_size;
  const StageLayout layout = lay_out(config, schedule::placement_for("v-half", 4, 2));
  const model::BlockFlops block = model::block_flops(config.model, B);
  const double head = model::head_forward_flops(config.model, B);
  ASSERT_EQ(layout.costs.stages.size(), layout.stage_map.size());
  for (const model::StageLayers& layers : layout.stage_map) {
    SCOPED_TRACE(layers.stage);
    const schedule::StageCost& cost = layout.costs.stages[static_cast<std::size_t>(layers.stage)];
    const double blocks = layers.num_blocks;
    const double heads = layers.has_head ? 1.0 : 0.0;
    // Rounding: sums in another order.
    EXPECT_NEAR(cost.forward_seconds, blocks * block.forward + heads * head, 1e-3);
    EXPECT_NEAR(cost.backward_input_seconds, blocks * block.backward_input + 2.0 * heads * head,
                1e-3);
    EXPECT_NEAR(cost.backward_weight_seconds, blocks * block.backward_weight, 1e-3);
  }
}

TEST(StageCosts, KeepTheBytesOfTheLayouts) {
  const config::RunConfig config = modelled_config("v-half", 4, only_products());
  const StageLayout layout = lay_out(config, schedule::placement_for("v-half", 4, 2));
  const schedule::CostModel estimate =
      model::estimate_costs(config.model, layout.stage_map, config.train.micro_batch_size);
  EXPECT_EQ(layout.costs.message_bytes, estimate.message_bytes);
  for (std::size_t stage = 0; stage < estimate.stages.size(); ++stage) {
    const schedule::StageCost& cost = layout.costs.stages[stage];
    EXPECT_EQ(cost.forward_to_backward_input_bytes,
              estimate.stages[stage].forward_to_backward_input_bytes);
    EXPECT_EQ(cost.forward_to_backward_weight_bytes,
              estimate.stages[stage].forward_to_backward_weight_bytes);
    EXPECT_EQ(cost.backward_input_to_backward_weight_bytes,
              estimate.stages[stage].backward_input_to_backward_weight_bytes);
  }
}

TEST(StageCosts, MemoryTrafficCountsWhereItIsSlower) {
  config::HardwareProfile profile = only_products();
  const double fast =
      lay_out(modelled_config("v-half", 4, profile), schedule::placement_for("v-half", 4, 2))
          .costs.stages.back()
          .forward_seconds;
  profile.memory = {1e-3, 1.0};
  profile.op_seconds = 1e9;
  const double slow =
      lay_out(modelled_config("v-half", 4, profile), schedule::placement_for("v-half", 4, 2))
          .costs.stages.back()
          .forward_seconds;
  EXPECT_GT(slow, fast + 1e9);
}

TEST(StageCosts, LinksCountMachines) {
  const config::RunConfig config = modelled_config("v-half", 4, only_products());
  const StageLayout layout = lay_out(config, schedule::placement_for("v-half", 4, 2));
  const auto bytes = static_cast<double>(layout.costs.message_bytes);
  EXPECT_DOUBLE_EQ(layout.costs.message_seconds_between(0, 1), 1e-3 + bytes / 1e6);
  EXPECT_DOUBLE_EQ(layout.costs.message_seconds_between(1, 2), 2e-3 + bytes / 1e5);
  EXPECT_DOUBLE_EQ(layout.costs.message_seconds_between(3, 2), 1e-3 + bytes / 1e6);
  EXPECT_DOUBLE_EQ(layout.costs.occupancy_seconds_between(1, 2), bytes / 1e5);
  EXPECT_TRUE(costs_are_seconds(config));
  EXPECT_FALSE(costs_are_seconds(small_config("v-half", 4)));
}

TEST(StageCosts, NoScheduleIsBetterThanTheBoundOfItsSearch) {
  // Copies that stages make, not layers, take a good part of the time here.
  config::HardwareProfile profile = only_products();
  profile.float32 = {4e9, 1.0};
  profile.memory = {2e8, 1.0};
  for (const char* limit : {"", "70%"}) {
    config::RunConfig config = modelled_config("auto", 2, profile);
    config.model.num_layers = 16;
    config.schedule.memory_limit = limit;
    config.schedule.search_evaluations = 20000;
    const ChosenSchedule chosen = choose_schedule(config);
    const schedule::Timeline timeline = schedule::simulate(chosen.orders, chosen.layout.costs);
    constexpr double kRounding = 1e-9;
    EXPECT_NEAR(chosen.search->cost, timeline.makespan, kRounding * timeline.makespan);
    EXPECT_LE(chosen.search->stages_bound, timeline.makespan * (1.0 + kRounding));
    EXPECT_LE(chosen.search->lower_bound, timeline.makespan * (1.0 + kRounding));
  }
}

TEST(Hardware, TheDeviceIsWhatTheProfileReaches) {
  config::RunConfig config = modelled_config("v-half", 4, only_products());
  config.device.profile->bf16 = {8.0, 0.25};
  const modelled::DeviceModel device = device_model_of(config);
  EXPECT_EQ(device.flops_per_second, 1.0);
  EXPECT_EQ(device.memory_bytes, std::int64_t{1} << 40);
  EXPECT_EQ(peak_flops_per_second_of(config), 2.0);
}

}  // namespace
}  // namespace halfpipe::runtime
