// SPDX-License-Identifier: Apache-2.0
// Every named schedule, for up to 64 ranks and 1 to 4p micro-batches: validity, memory and span.
#include "parallel/schedule/catalogue.h"

#include <gtest/gtest.h>

#include <cmath>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "order_properties.h"
#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

constexpr int kMaxRanks = 16;
constexpr std::array kMoreRanks = {24, 32, 64};

bool uses_costs(std::string_view name) {
  return name == "zb-1p" || name == "zb-2p" || name == "v-zb";
}

/// Peak memory from 2p micro-batches on: units of one micro-batch on 1/p of the model, on the rank
/// that needs most. Qi et al. 2023 (arXiv:2401.10241) and 2024 (arXiv:2405.15362); interleaved with
/// two chunks: Narayanan et al. 2021 (arXiv:2104.04473).
double peak_formula(std::string_view name, int p, int m) {
  if (name == "gpipe") return m;
  if (name == "interleaved") return (3 * p - 1) / 2.0;
  if (name == "zb-2p") return 2 * p;
  if (name == "v-min") return std::floor((p + 4) / 3.0);
  if (name == "v-half" || name == "w4") return std::floor((p + 2) / 2.0);
  if (name == "1f1b-v") return std::floor((2 * p + 3) / 3.0);
  return p;
}

/// Span beyond the work from 2p micro-batches on, where T_F = T_B = T_W, in slots of which a rank's
/// F of one micro-batch takes two. 1f1b, gpipe and interleaved hand the gradient on after B; see
/// FusedBackwardHasThePublishedSpan for the figures of a gradient that waits for W. For 1f1b-v and
/// w4, which have no published figure under our rules, an upper bound: three quarters of V-Half's
/// leading term for w4.
double span_formula(std::string_view name, int p) {
  if (name == "gpipe" || name == "1f1b") return 4 * (p - 1);
  if (name == "interleaved" || name == "zb-1p") return 2 * (p - 1);
  if (p == 1 || name == "zb-2p" || name == "v-zb") return 0;
  if (name == "v-min") return p % 3 == 0 ? 4 * p - 7 : 4 * p - 5;
  if (name == "1f1b-v") return 25 * (p - 1) / 8.0;
  if (name == "w4") return 9 * p / 4.0 - 3;
  if (p == 2) return 0;  // v-half, one slot below the published 1
  return p % 2 == 0 ? 3 * p - 7 : 3 * p - 4;
}

bool has_exact_span(std::string_view name) {
  return name != "1f1b-v" && name != "w4";
}

/// Slots of Timeline::span beyond the work at uniform unit costs.
double slots_beyond_work(const Timeline& timeline, const Placement& placement, int m) {
  const double seconds = timeline.span - kNumPasses * m * placement.num_chunks();
  return seconds * 2 / placement.num_chunks();
}

/// All up to 4p where that is quick; else the ends, what lies beside p and 2p, and a remainder.
std::set<int> micro_batch_counts(int p) {
  std::set<int> counts;
  if (p <= 6) {
    for (int m = 1; m <= 4 * p; ++m) counts.insert(m);
    return counts;
  }
  for (const int m : {1, p / 2, p - 1, p, p + 1, 2 * p - 1, 2 * p, 3 * p + p / 2}) {
    counts.insert(m);
  }
  return counts;
}

class EverySchedule : public testing::TestWithParam<std::string_view> {
 protected:
  static CostModel uniform(int p) {
    return uniform_costs(placement_for(GetParam(), p, 2).num_stages());
  }

  static void expect_formulas(int p, int m) {
    SCOPED_TRACE(testing::Message() << "p " << p << ", m " << m);
    const StageOrders orders = make_orders(GetParam(), p, m, 2, uniform(p));
    const Timeline timeline = simulate(orders, uniform(p));
    EXPECT_EQ(highest_peak_units(timeline), peak_formula(GetParam(), p, m));
    const double slots = slots_beyond_work(timeline, orders.placement, m);
    if (has_exact_span(GetParam())) {
      EXPECT_EQ(slots, span_formula(GetParam(), p));
    } else {
      EXPECT_LE(slots, span_formula(GetParam(), p));
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Names,
                         EverySchedule,
                         testing::ValuesIn(schedule_names().begin(), schedule_names().end()),
                         [](const auto& test) {
                           std::string name(test.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(EverySchedule, IsValidAndWithinItsMemory) {
  for (int p = 1; p <= kMaxRanks; ++p) {
    const int num_stages = placement_for(GetParam(), p, 2).num_stages();
    std::vector<CostModel> cost_models = {uneven_costs(num_stages)};
    if (uses_costs(GetParam())) cost_models.push_back(uniform_costs(num_stages));
    for (const CostModel& costs : cost_models) {
      for (const int m : micro_batch_counts(p)) {
        SCOPED_TRACE(testing::Message() << "p " << p << ", m " << m);
        const StageOrders orders = make_orders(GetParam(), p, m, 2, costs);
        ASSERT_EQ(orders.name, GetParam());
        ASSERT_EQ(orders.placement, placement_for(GetParam(), p, 2));
        ASSERT_EQ(orders.num_micro_batches, m);
        ASSERT_EQ(first_order_violation(orders), "");
        const Timeline timeline = simulate(orders, costs);
        ASSERT_LE(highest_peak_units(timeline),
                  std::min<double>(m, peak_formula(GetParam(), p, m)));
      }
    }
  }
}

TEST_P(EverySchedule, UsesExactlyItsMemoryAndSpanAtUniformCosts) {
  for (int p = 1; p <= kMaxRanks; ++p) {
    for (const int m : micro_batch_counts(p)) {
      // Interleaving was made for whole groups of p; a cut last group costs span, not memory.
      if (m < 2 * p || (GetParam() == "interleaved" && m % p != 0)) continue;
      expect_formulas(p, m);
    }
  }
}

TEST_P(EverySchedule, TimesAreAsEarlyAsTheOrderAllows) {
  for (const int p : {1, 2, 3, 7}) {
    const CostModel costs = uneven_costs(placement_for(GetParam(), p, 2).num_stages());
    const StageOrders orders = make_orders(GetParam(), p, 2 * p + 1, 2, costs);
    EXPECT_EQ(first_time_violation(orders, simulate(orders, costs), costs), "");
  }
}

TEST_P(EverySchedule, EmptyStageCostsMeanUniformOnes) {
  const StageOrders orders = make_orders(GetParam(), 4, 9, 2, CostModel{});
  EXPECT_EQ(orders.ranks, make_orders(GetParam(), 4, 9, 2, uniform(4)).ranks);
}

TEST_P(EverySchedule, LargePipelinesAreValid) {
  for (const int p : kMoreRanks) {
    for (const int m : {1, p - 1}) {
      SCOPED_TRACE(testing::Message() << "p " << p << ", m " << m);
      const StageOrders orders = make_orders(GetParam(), p, m, 2, uniform(p));
      EXPECT_EQ(first_order_violation(orders), "");
      EXPECT_LE(highest_peak_units(simulate(orders, uniform(p))),
                std::min<double>(m, peak_formula(GetParam(), p, m)));
    }
    expect_formulas(p, 2 * p);
    // Another 2p micro-batches repeat the steady state: once is enough to see that they do.
    if (p == kMoreRanks.front()) expect_formulas(p, 4 * p);
  }
}

TEST_P(EverySchedule, RefusesWhatHasNoSchedule) {
  EXPECT_THROW(make_orders(GetParam(), 0, 4, 2, CostModel{}), ScheduleError);
  EXPECT_THROW(make_orders(GetParam(), 4, 0, 2, CostModel{}), ScheduleError);
  EXPECT_THROW(make_orders(GetParam(), 4, 4, 2, uniform_costs(3)), ScheduleError);
}

TEST(Catalogue, InterleavedTakesAnyNumberOfChunks) {
  for (int num_chunks = 1; num_chunks <= 5; ++num_chunks) {
    for (const int p : {1, 2, 3, 5, 8}) {
      const CostModel costs = uneven_costs(p * num_chunks);
      for (int m = 1; m <= 3 * p; ++m) {
        SCOPED_TRACE(testing::Message() << num_chunks << " chunks, p " << p << ", m " << m);
        const StageOrders orders = make_orders("interleaved", p, m, num_chunks, costs);
        ASSERT_EQ(first_order_violation(orders), "");
        ASSERT_LE(highest_peak_units(simulate(orders, costs)), m);
      }
    }
  }
}

TEST(Catalogue, InterleavedWithOneChunkIsOneFOneB) {
  const StageOrders interleaved = make_orders("interleaved", 4, 10, 1, CostModel{});
  EXPECT_EQ(interleaved.ranks, make_orders("1f1b", 4, 10, 1, CostModel{}).ranks);
}

// The papers count B and W of these schedules as one backward, whose gradient leaves at its end:
// 6(p-1) slots beyond the work for 1F1B and 3(p-1) for two chunks. A backward of that kind is B
// twice as long.
TEST(Catalogue, FusedBackwardHasThePublishedSpan) {
  for (int p = 1; p <= kMaxRanks; ++p) {
    for (const auto& [name, slots_per_rank] :
         std::map<std::string, int>{{"gpipe", 6}, {"1f1b", 6}, {"interleaved", 3}}) {
      const int m = 2 * p;
      const StageOrders orders = make_orders(name, p, m, 2, CostModel{});
      CostModel costs = uniform_costs(orders.placement.num_stages());
      for (StageCost& stage : costs.stages) {
        stage.backward_input_seconds = 2.0;
        stage.backward_weight_seconds = 0.0;
      }
      EXPECT_EQ(slots_beyond_work(simulate(orders, costs), orders.placement, m),
                slots_per_rank * (p - 1))
          << name << ", p " << p;
    }
  }
}

TEST(Catalogue, BackwardPassesOfUnsplitSchedulesAreBackToBack) {
  for (const std::string name : {"gpipe", "1f1b", "1f1b-v", "interleaved"}) {
    for (const std::vector<PassOp>& ops : make_orders(name, 4, 9, 2, CostModel{}).ranks) {
      for (std::size_t i = 0; i < ops.size(); ++i) {
        if (ops[i].pass != Pass::kBackwardInput) continue;
        EXPECT_EQ(ops.at(i + 1), (PassOp{Pass::kBackwardWeight, ops[i].stage, ops[i].micro_batch}));
      }
    }
  }
}

TEST(Catalogue, RealCostsShortenTheSpan) {
  for (const std::string name : {"zb-1p", "zb-2p", "v-zb"}) {
    const CostModel costs = uneven_costs(placement_for(name, 8, 2).num_stages());
    const double aware = simulate(make_orders(name, 8, 32, 2, costs), costs).span;
    const double unaware = simulate(make_orders(name, 8, 32, 2, CostModel{}), costs).span;
    EXPECT_LE(aware, unaware) << name;
  }
}

// Measured on the implementation of arXiv:2405.15362: chunk slots beyond the work for m >= 2p;
// there the gradient leaves after W, so ours must not be longer.
TEST(Catalogue, OneFOneBVIsNeverLongerThanThePublishedOne) {
  for (const auto& [p, slots] : std::map<int, int>{{4, 15}, {8, 33}, {16, 75}, {32, 153}}) {
    const StageOrders orders = make_orders("1f1b-v", p, 2 * p, 2, CostModel{});
    EXPECT_LE(simulate(orders, uniform_costs(2 * p)).span, 12 * p + slots);
  }
}

// The point of the longer zigzag: at V-Half's memory and with free messages a shorter step.
TEST(Catalogue, W4IsShorterThanVHalfAtItsMemory) {
  for (const int p : {3, 4, 5, 6, 8, 12, 16, 32}) {
    const double w4 =
        simulate(make_orders("w4", p, 2 * p, 2, CostModel{}), uniform_costs(4 * p)).span / 4;
    const double v_half =
        simulate(make_orders("v-half", p, 2 * p, 2, CostModel{}), uniform_costs(2 * p)).span / 2;
    EXPECT_LT(w4, v_half) << "p " << p;
  }
}

TEST(Catalogue, GoldenOneFOneB) {
  EXPECT_EQ(order_text(make_orders("1f1b", 3, 4, 1, CostModel{})),
            "F0 F1 F2 B0 W0 F3 B1 W1 B2 W2 B3 W3\n"
            "F0 F1 B0 W0 F2 B1 W1 F3 B2 W2 B3 W3\n"
            "F0 B0 W0 F1 B1 W1 F2 B2 W2 F3 B3 W3\n");
}

TEST(Catalogue, GoldenVMin) {
  EXPECT_EQ(order_text(make_orders("v-min", 2, 3, 2, CostModel{})),
            "F0 f0 b0 F1 w0 B0 W0 f1 b1 F2 w1 B1 W1 f2 b2 w2 B2 W2\n"
            "F0 f0 b0 B0 F1 f1 w0 W0 b1 B1 F2 f2 w1 W1 b2 B2 w2 W2\n");
}

TEST(Catalogue, UnknownNameListsTheKnownOnes) {
  try {
    (void)placement_for("v-quarter", 4, 2);
    FAIL() << "no exception";
  } catch (const ScheduleError& error) {
    EXPECT_STREQ(error.what(),
                 "there is no schedule 'v-quarter'; known ones: gpipe, 1f1b, 1f1b-v, interleaved, "
                 "zb-1p, zb-2p, v-min, v-half, v-zb, w4");
  }
}

}  // namespace
}  // namespace halfpipe::schedule
