// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/sweep_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <optional>
#include <utility>

#include "engine/runtime/planning/choose_schedule.h"
#include "engine/runtime/planning/search_question.h"
#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::tools {

namespace {

bool counts_span(const config::RunConfig& config) {
  return config.schedule.objective == "span";
}

SweptSchedule measured(const config::RunConfig& config, const runtime::ChosenSchedule& chosen) {
  const schedule::Timeline timeline = schedule::simulate(chosen.orders, chosen.layout.costs);
  const schedule::Plan plan = schedule::build_plan(chosen.orders, chosen.layout.costs);
  std::int64_t peak = 0;
  for (const schedule::RankPlan& rank : plan.ranks) peak = std::max(peak, rank.arena_bytes);
  return {chosen.orders.name,
          chosen.layout.placement,
          peak,
          counts_span(config) ? timeline.span : timeline.makespan,
          timeline.bubble_fraction,
          timeline.bubble_fraction_makespan};
}

struct Found {
  SweptSchedule schedule;
  double lower_bound;
};

/// Nothing where no schedule has these limits.
std::optional<Found> search(config::RunConfig config,
                            std::int64_t limit,
                            const SweepBudget& budget) {
  config.schedule.name = "auto";
  config.schedule.memory_limit = fmt::format("{} B", limit);
  config.schedule.rank_memory_limits.clear();
  config.schedule.search_seconds = budget.seconds;
  config.schedule.search_evaluations = budget.evaluations;
  try {
    const runtime::ChosenSchedule chosen = runtime::choose_schedule(config);
    return Found{measured(config, chosen), chosen.search.value().lower_bound};
  } catch (const schedule::ScheduleError&) {
    return std::nullopt;
  }
}

/// More than any job takes.
constexpr std::int64_t kNoLimit = std::int64_t{1} << 60U;

/// Starts at what 1F1B takes and doubles it until more memory gains next to nothing. What a search
/// without a limit takes says little: it spends memory where that gains nothing, too.
std::int64_t largest_limit(const config::RunConfig& config,
                           std::int64_t limit,
                           const SweptSchedule& free,
                           const SweepBudget& budget) {
  constexpr double kNextToNothing = 1e-3;
  while (limit < free.peak_bytes) {
    const std::optional<Found> found = search(config, limit, budget);
    if (found && found->schedule.cost <= free.cost * (1.0 + kNextToNothing)) return limit;
    limit *= 2;
  }
  return free.peak_bytes;
}

/// Down to a hundredth. A search of no time tells whether there is a schedule at all.
std::int64_t smallest_limit(const config::RunConfig& config, std::int64_t enough) {
  std::int64_t too_little = 0;
  while (enough - too_little > enough / 100) {
    const std::int64_t middle = too_little + (enough - too_little) / 2;
    const bool fits = search(config, middle, {0.0, 0}).has_value();
    (fits ? enough : too_little) = middle;
  }
  return enough;
}

/// Nothing where the job cannot have it: too few layers, or parallel.layers_per_stage for another
/// number of stages.
std::optional<SweptSchedule> named_schedule(config::RunConfig config, std::string_view name) {
  config.schedule.name = name;
  config.schedule.exact = true;
  const schedule::Placement placement =
      schedule::placement_for(name, config.parallel.pipeline, config.schedule.num_chunks);
  const std::optional<std::vector<int>>& layers = config.parallel.layers_per_stage;
  if (layers && static_cast<int>(layers->size()) != placement.num_stages()) return std::nullopt;
  try {
    return measured(config, runtime::choose_schedule(config));
  } catch (const schedule::ScheduleError&) {
    return std::nullopt;
  }
}

/// As schedule.memory_limit counts: the fullest rank of 1F1B holds as many units as there are
/// ranks, or micro-batches.
double unit_bytes(config::RunConfig config) {
  config.parallel.layers_per_stage.reset();
  config.schedule.name = "1f1b";
  const runtime::ChosenSchedule chosen = runtime::choose_schedule(config);
  const std::vector<std::int64_t> peaks =
      schedule::simulate(chosen.orders, chosen.layout.costs).peak_activation_bytes;
  return static_cast<double>(*std::max_element(peaks.begin(), peaks.end())) /
         std::min(config.parallel.pipeline, config.num_micro_batches());
}

double work_per_rank(const config::RunConfig& config) {
  config::RunConfig plain = config;
  plain.parallel.layers_per_stage.reset();
  const runtime::StageLayout layout =
      runtime::lay_out(plain, schedule::placement_for("1f1b", config.parallel.pipeline, 1));
  double work = 0.0;
  for (const schedule::StageCost& stage : layout.costs.stages) {
    work += stage.forward_seconds + stage.backward_input_seconds + stage.backward_weight_seconds;
  }
  return config.num_micro_batches() * work / config.parallel.pipeline;
}

/// Every schedule known may serve every limit that it fits, and every bound holds for all smaller
/// limits: so more memory is never worse, though searches end before they are done. Named schedules
/// on other placements than those of a search are left out, since the bounds are not for them.
std::vector<SweepPoint> best_points(const config::RunConfig& config,
                                    const std::vector<std::int64_t>& limits,
                                    const std::vector<std::optional<Found>>& found,
                                    const std::vector<SweptSchedule>& named) {
  std::vector<SweptSchedule> known;
  for (const std::optional<Found>& one : found) {
    if (one) known.push_back(one->schedule);
  }
  const std::vector<schedule::Placement> searched = runtime::searched_placements(config);
  std::ranges::copy_if(named, std::back_inserter(known), [&](const SweptSchedule& one) {
    return std::ranges::find(searched, one.placement) != searched.end();
  });

  std::vector<SweepPoint> points;
  for (std::size_t i = 0; i < limits.size(); ++i) {
    const SweptSchedule* best = nullptr;
    for (const SweptSchedule& one : known) {
      if (one.peak_bytes > limits[i]) continue;
      if (best == nullptr || one.cost < best->cost) best = &one;
    }
    if (best == nullptr) continue;
    double bound = 0.0;
    for (std::size_t j = i; j < found.size(); ++j) {
      if (found[j]) bound = std::max(bound, found[j]->lower_bound);
    }
    // A search narrows its limits where an arena has gaps; a schedule without them may beat its
    // bound.
    points.push_back({limits[i], *best, std::min(bound, best->cost)});
  }
  return points;
}

/// Named schedules that no other one beats with as little memory: the curve must not pass above
/// them only because its limits lie beside them.
std::vector<std::int64_t> limits_of_named(const std::vector<SweptSchedule>& named) {
  std::vector<std::int64_t> limits;
  for (const SweptSchedule& one : named) {
    const bool beaten = std::ranges::any_of(named, [&](const SweptSchedule& other) {
      return other.peak_bytes <= one.peak_bytes && other.cost < one.cost;
    });
    if (!beaten) limits.push_back(one.peak_bytes);
  }
  return limits;
}

/// From smallest to largest, each larger than the one before by the same factor, since the curve is
/// steepest where memory is short; and those of `more` that lie between.
std::vector<std::int64_t> row_of_limits(std::int64_t smallest,
                                        std::int64_t largest,
                                        const std::vector<std::int64_t>& more) {
  std::vector<std::int64_t> limits{smallest, largest};
  const double ratio = static_cast<double>(largest) / static_cast<double>(smallest);
  for (int i = 1; i < kSweepPoints - 1; ++i) {
    const double power = std::pow(ratio, static_cast<double>(i) / (kSweepPoints - 1));
    limits.push_back(static_cast<std::int64_t>(static_cast<double>(smallest) * power));
  }
  for (const std::int64_t limit : more) {
    if (limit > smallest && limit < largest) limits.push_back(limit);
  }
  std::sort(limits.begin(), limits.end());
  limits.erase(std::unique(limits.begin(), limits.end()), limits.end());
  return limits;
}

}  // namespace

double MemorySweep::idle_share(double cost) const {
  return std::max(0.0, 1.0 - work_per_rank / cost);
}

MemorySweep sweep_memory(const config::RunConfig& config, const SweepBudget& budget) {
  const auto start = std::chrono::steady_clock::now();
  MemorySweep sweep{config, unit_bytes(config), work_per_rank(config), 0.0, {}, {}};
  for (const std::string_view name : schedule::schedule_names()) {
    const std::optional<SweptSchedule> named = named_schedule(config, name);
    if (named) sweep.named.push_back(*named);
  }
  const std::optional<Found> free = search(config, kNoLimit, budget);
  if (!free) throw schedule::ScheduleError("no schedule exists for this job under any limit");
  const int units_of_1f1b = std::min(config.parallel.pipeline, config.num_micro_batches());
  const std::int64_t largest =
      largest_limit(config, static_cast<std::int64_t>(std::ceil(units_of_1f1b * sweep.unit_bytes)),
                    free->schedule, budget);
  const std::vector<std::int64_t> limits =
      row_of_limits(smallest_limit(config, largest), largest, limits_of_named(sweep.named));
  std::vector<std::optional<Found>> found;
  for (const std::int64_t limit : limits) found.push_back(search(config, limit, budget));
  found.push_back(free);  // its bound holds for every limit
  sweep.points = best_points(config, limits, found, sweep.named);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  sweep.search_seconds = elapsed.count();
  return sweep;
}

}  // namespace halfpipe::tools
