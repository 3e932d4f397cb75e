// SPDX-License-Identifier: Apache-2.0
// A layout search is what planning every layout would be, only quicker.
#include "engine/runtime/planning/layout_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "engine/config/validate_config.h"
#include "engine/model/recompute.h"
#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/planning/layout_bounds.h"
#include "kernels/modelled/modelled_backend.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/simulate.h"
#include "tests/engine/runtime/modelled_job.h"

namespace halfpipe::runtime {
namespace {

/// Operations and links cost enough for every axis to matter, in a machine of four ranks.
config::RunConfig job() {
  config::HardwareProfile profile = only_products();
  profile.float32 = {1e9, 0.5};
  profile.memory = {1e9, 0.5};
  profile.op_seconds = 1e-6;
  profile.product_seconds = 2e-6;
  profile.ranks_per_machine = 4;
  profile.within_machine = {1e-5, {2e9, 0.5}};
  profile.between_machines = {2e-5, {2e8, 1.0}};
  config::RunConfig config = modelled_config("1f1b", 1, profile);
  config.device.hardware = "a profile";
  config.model.num_layers = 9;
  config.model.num_heads = 4;
  config.train.micro_batch_size = 3;
  config.train.global_batch_size = 24;
  return config;
}

std::unique_ptr<device::Backend> backend_of(const config::RunConfig& config) {
  return modelled::make_modelled_backend(device_model_of(config));
}

std::int64_t bytes_of(const std::vector<RankMemory>& ranks) {
  std::int64_t most = 0;
  for (const RankMemory& rank : ranks) most = std::max(most, rank.total());
  return most;
}

TEST(Layouts, HoldEveryMeshAndMicroBatchOnce) {
  const config::RunConfig config = job();
  for (const int num_ranks : {1, 6, 8, 24}) {
    std::set<std::tuple<int, int, int>> meshes;
    for (int p = 1; p <= 9; ++p) {
      const int d = num_ranks / p;
      if (d * p != num_ranks || 24 % d != 0) continue;
      for (int b = 1; b <= 24 / d; ++b) {
        const bool is_tried = b == 3 || (b & (b - 1)) == 0;
        if (is_tried && 24 / d % b == 0) meshes.insert({d, p, b});
      }
    }
    std::map<std::tuple<int, int, int>, int> seen;
    std::vector<Layout> different;
    for (const Layout& layout : enumerate_layouts(config, num_ranks)) {
      EXPECT_EQ(layout.data * layout.tensor * layout.pipeline, num_ranks);
      if (layout.tensor == 1) ++seen[{layout.data, layout.pipeline, layout.micro_batch_size}];
      EXPECT_EQ(std::ranges::find(different, layout), different.end());
      different.push_back(layout);
      const auto violation = config::find_violation(with_layout(config, layout));
      EXPECT_FALSE(violation) << violation->sentence;
    }
    EXPECT_EQ(seen.size(), meshes.size());
    for (const auto& [mesh, count] : seen) {
      EXPECT_TRUE(meshes.contains(mesh));
      const int p = std::get<1>(mesh);
      // 1f1b; with more ranks zb-1p; where two stages fit a rank three on a V; interleaved.
      const int chunks = std::min(kMostChunks, 9 / p);
      const int patterns = p == 1 ? 1 : 2 + (chunks >= 2 ? 3 : 0) + (chunks - 1);
      const int optimizers = std::get<0>(mesh) > 1 ? 2 : 1;
      EXPECT_EQ(count, 3 * patterns * optimizers) << "pipeline " << p;
    }
  }
}

TEST(Layouts, HoldEveryWayToShareLayers) {
  config::RunConfig config = job();
  for (const int num_ranks : {4, 6, 8}) {
    std::map<std::tuple<int, bool, int>, int> seen;
    for (const Layout& layout : enumerate_layouts(config, num_ranks)) {
      ++seen[{layout.tensor, layout.gather_again, layout.data > 1 ? layout.zero_stage : -1}];
    }
    // Of a machine's four ranks, and of four heads: 1, 2 or 4.
    for (const int tensor : {1, 2, 4}) {
      if (num_ranks % tensor != 0) continue;
      for (const int zero_stage : {-1, 0, 1}) {
        if (zero_stage >= 0 && num_ranks == tensor) continue;  // one replica alone
        SCOPED_TRACE(::testing::Message() << num_ranks << ' ' << tensor << ' ' << zero_stage);
        const int again = seen[{tensor, true, zero_stage}];
        EXPECT_GT(again, 0);
        EXPECT_EQ((seen[{tensor, false, zero_stage}]), tensor == 1 ? 0 : again);
        if (zero_stage == 1) {
          EXPECT_EQ(again, (seen[{tensor, true, 0}]));
        }
      }
    }
    EXPECT_EQ((seen[{3, true, 0}]), 0);
  }
  config.model.num_heads = 2;
  for (const Layout& layout : enumerate_layouts(config, 8)) EXPECT_LE(layout.tensor, 2);
}

TEST(Layouts, LeaveOutMeshesThatTheJobRefuses) {
  config::RunConfig config = job();
  config.device.kind = "cuda";
  config.model.num_heads = 4;
  config.device.cuda_graphs = true;  // not with ranks that share layers yet
  config.data.text = {"text.txt"};
  config.model.vocab_size = 256;
  const std::vector<Layout> layouts = enumerate_layouts(config, 4);
  EXPECT_FALSE(layouts.empty());
  for (const Layout& layout : layouts) EXPECT_EQ(layout.tensor, 1);
  config.device.cuda_graphs = false;
  EXPECT_GT(enumerate_layouts(config, 4).size(), layouts.size());
}

class PartsOfOrder : public ::testing::TestWithParam<std::string> {};

TEST_P(PartsOfOrder, AreThoseOfTheWholePlan) {
  config::RunConfig config = job();
  config.parallel.order = GetParam();
  const auto backend = backend_of(config);
  LayoutParts parts(config, *backend);
  for (const Layout& layout : enumerate_layouts(config, 8)) {
    const config::RunConfig whole = with_layout(config, layout);
    SCOPED_TRACE(layout.schedule + " on " + std::to_string(layout.pipeline));
    const Job planned = make_job(whole);
    const StageLayout stages = parts.stages_of(layout);
    EXPECT_EQ(stages.stage_map, planned.stage_map);
    EXPECT_EQ(stages.costs.message_bytes, planned.costs.message_bytes);
    for (std::size_t i = 0; i < stages.stage_map.size(); ++i) {
      for (const schedule::Pass pass : {schedule::Pass::kForward, schedule::Pass::kBackwardInput,
                                        schedule::Pass::kBackwardWeight}) {
        EXPECT_EQ(stages.costs.stages[i].seconds(pass), planned.costs.stages[i].seconds(pass));
      }
    }
    const schedule::StageOrders orders =
        schedule::make_orders(layout.schedule, layout.pipeline, whole.num_micro_batches(),
                              layout.num_chunks, stages.costs);
    const double makespan = schedule::simulate(orders, stages.costs).makespan;
    EXPECT_EQ(makespan, schedule::simulate(orders_of(planned.training), planned.costs).makespan);
    EXPECT_LE(makespan_bound(stages, layout.schedule, whole.num_micro_batches()), makespan);
    EXPECT_EQ(parts.outside_passes_of(layout, stages).total(), outside_passes(planned).total());
    const std::vector<RankMemory> memory = parts.memory_outside_passes_of(layout, stages);
    for (std::size_t rank = 0; rank < memory.size(); ++rank) {
      EXPECT_EQ(memory[rank],
                plan_memory_outside_passes(planned, static_cast<int>(rank), *backend));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(LayoutParts,
                         PartsOfOrder,
                         ::testing::Values("data-pipeline-tensor", "tensor-pipeline-data"));

TEST(LayoutParts, TheBoundIsTightForOneRankAndForEqualStages) {
  const config::RunConfig config = job();
  const auto backend = backend_of(config);
  StageLayout stages = LayoutParts(config, *backend).stages_of({.pipeline = 3, .schedule = "1f1b"});
  stages.costs = schedule::uniform_costs(3);
  // m + p - 1 forward and backward passes, less what W lets the ranks before begin earlier.
  const schedule::StageOrders orders = schedule::make_orders("1f1b", 3, 8, 1, stages.costs);
  EXPECT_NEAR(makespan_bound(stages, "1f1b", 8), schedule::simulate(orders, stages.costs).makespan,
              1e-6);
}

/// Every layout planned to its end.
std::vector<PlannedLayout> all_that_fit(const config::RunConfig& config,
                                        int num_ranks,
                                        std::int64_t limit,
                                        device::Backend& backend) {
  std::vector<PlannedLayout> fit;
  for (const Layout& layout : enumerate_layouts(config, num_ranks)) {
    PlannedLayout planned = plan_layout(config, layout, backend);
    if (planned.memory.total() <= limit) fit.push_back(planned);
  }
  std::ranges::stable_sort(fit, {}, [](const PlannedLayout& planned) {
    return std::tuple(planned.step_seconds(), planned.memory.total());
  });
  return fit;
}

void expect_equal(const PlannedLayout& one, const PlannedLayout& other) {
  EXPECT_EQ(one.step_seconds(), other.step_seconds());
  EXPECT_EQ(one.memory.total(), other.memory.total());
}

TEST(LayoutSearch, FindsWhatPlanningEveryLayoutFinds) {
  const config::RunConfig config = job();
  const auto backend = backend_of(config);
  for (const int num_ranks : {1, 4, 6}) {
    const std::vector<PlannedLayout> everything =
        all_that_fit(config, num_ranks, std::int64_t{1} << 40, *backend);
    std::vector<std::int64_t> bytes;
    for (const PlannedLayout& planned : everything) bytes.push_back(planned.memory.total());
    std::ranges::sort(bytes);
    for (const std::int64_t limit :
         {bytes[bytes.size() / 20], bytes[bytes.size() / 2], bytes.back()}) {
      SCOPED_TRACE(std::to_string(num_ranks) + " ranks, " + std::to_string(limit) + " B");
      const std::vector<PlannedLayout> fit = all_that_fit(config, num_ranks, limit, *backend);
      const LayoutSearchResult found = search_layouts(config, num_ranks, {limit, 5}, *backend);
      EXPECT_EQ(found.num_layouts, static_cast<std::int64_t>(everything.size()));
      ASSERT_EQ(found.best.size(), std::min<std::size_t>(5, fit.size()));
      for (std::size_t i = 0; i < found.best.size(); ++i) expect_equal(found.best[i], fit[i]);
      std::map<std::string, PlannedLayout> best;
      for (const PlannedLayout& planned : fit) best.emplace(planned.layout.schedule, planned);
      EXPECT_EQ(found.best_of_schedule.size(), best.size());
      for (const PlannedLayout& planned : found.best_of_schedule) {
        expect_equal(planned, best.at(planned.layout.schedule));
      }
      if (limit != bytes.back()) continue;
      EXPECT_EQ(found.num_too_large, 0);
      if (num_ranks > 1) {
        EXPECT_GT(found.num_passed_over, 0);
      }
    }
  }
}

TEST(LayoutSearch, KeepsTheLimitAndNamesTheSmallest) {
  const config::RunConfig config = job();
  const auto backend = backend_of(config);
  std::int64_t least = std::int64_t{1} << 40;
  for (const PlannedLayout& planned : all_that_fit(config, 4, least, *backend)) {
    least = std::min(least, planned.memory.total());
  }
  const LayoutSearchResult enough = search_layouts(config, 4, {least, 10}, *backend);
  ASSERT_FALSE(enough.best.empty());
  for (const PlannedLayout& planned : enough.best) {
    EXPECT_EQ(planned.memory.total(), least);
    const Job job = make_job(with_layout(config, planned.layout));
    EXPECT_EQ(bytes_of(plan_memory(job, *backend)), least);
  }
  EXPECT_FALSE(enough.smallest);
  const LayoutSearchResult too_little = search_layouts(config, 4, {least - 1, 10}, *backend);
  EXPECT_TRUE(too_little.best.empty());
  EXPECT_EQ(too_little.num_too_large, too_little.num_layouts);
  ASSERT_TRUE(too_little.smallest);
  EXPECT_EQ(too_little.smallest->memory.total(), least);
}

TEST(LayoutSearch, HasNothingWhereNoMeshFits) {
  const config::RunConfig config = job();
  const LayoutSearchResult found =
      search_layouts(config, 11, {std::int64_t{1} << 40, 10}, *backend_of(config));
  EXPECT_EQ(found.num_layouts, 0);
  EXPECT_TRUE(found.best.empty());
  EXPECT_FALSE(found.smallest);
}

}  // namespace
}  // namespace halfpipe::runtime
