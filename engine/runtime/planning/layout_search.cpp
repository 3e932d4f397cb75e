// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/layout_search.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "engine/config/load_config.h"
#include "engine/runtime/planning/layout_bounds.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::runtime {

namespace {

config::RunConfig on_modelled_devices(config::RunConfig config) {
  if (is_modelled(config.device)) return config;
  config.device.kind = "modelled";
  return config::without_idle_keys(std::move(config));
}

/// A layout of the space, with what it takes at least.
struct Candidate {
  Layout layout;
  StageLayout stages;
  OutsidePasses outside;
  double bound;  // of a step, seconds
  int num_micro_batches;
};

std::vector<Candidate> candidates_of(const config::RunConfig& config,
                                     int num_ranks,
                                     LayoutParts& parts) {
  std::vector<Candidate> candidates;
  for (Layout& layout : enumerate_layouts(config, num_ranks)) {
    StageLayout stages = parts.stages_of(layout);
    const OutsidePasses outside = parts.outside_passes_of(layout, stages);
    const int m = config.train.global_batch_size / (layout.data * layout.micro_batch_size);
    const double bound = makespan_bound(stages, layout.schedule, m) + outside.total();
    candidates.push_back({std::move(layout), std::move(stages), outside, bound, m});
  }
  std::ranges::stable_sort(candidates, {}, &Candidate::bound);
  return candidates;
}

/// Bytes that every layout needs on its fullest rank before any order is known: one micro-batch on
/// the rank's largest stage.
std::int64_t memory_bound(const Candidate& candidate, const std::vector<RankMemory>& outside) {
  std::int64_t most = 0;
  for (std::size_t rank = 0; rank < outside.size(); ++rank) {
    std::int64_t saved = 0;
    for (int chunk = 0; chunk < candidate.stages.placement.num_chunks(); ++chunk) {
      const int stage = candidate.stages.placement.stage_of(static_cast<int>(rank), chunk);
      const schedule::StageCost& cost =
          candidate.stages.costs.stages[static_cast<std::size_t>(stage)];
      saved = std::max(
          saved, cost.forward_to_backward_input_bytes + cost.forward_to_backward_weight_bytes);
    }
    most = std::max(most, outside[rank].total() + saved);
  }
  return most;
}

std::int64_t memory_bound(const schedule::Timeline& timeline,
                          const std::vector<RankMemory>& outside) {
  std::int64_t most = 0;
  for (std::size_t rank = 0; rank < outside.size(); ++rank) {
    most = std::max(most, outside[rank].total() + timeline.peak_activation_bytes[rank]);
  }
  return most;
}

bool is_better(const PlannedLayout& one, const PlannedLayout& other) {
  return std::tuple(one.step_seconds(), one.memory.total()) <
         std::tuple(other.step_seconds(), other.memory.total());
}

/// The best ones so far, in order.
class Ranking {
 public:
  explicit Ranking(std::size_t num_best) : num_best_(num_best) {}

  /// Whether a layout that takes `seconds` or more may still change anything.
  [[nodiscard]] bool has_room_for(const std::string& schedule, double seconds) const {
    if (best_.size() < num_best_ || seconds <= best_.back().step_seconds()) return true;
    const auto found = find(schedule);
    return found == of_schedule_.end() || seconds <= found->step_seconds();
  }

  void add(const PlannedLayout& planned) {
    best_.insert(std::ranges::upper_bound(best_, planned, is_better), planned);
    if (best_.size() > num_best_) best_.pop_back();
    const auto found = find(planned.layout.schedule);
    if (found == of_schedule_.end()) {
      of_schedule_.push_back(planned);
    } else if (is_better(planned, *found)) {
      of_schedule_[static_cast<std::size_t>(found - of_schedule_.begin())] = planned;
    }
  }

  void move_to(LayoutSearchResult& result) {
    std::ranges::sort(of_schedule_, is_better);
    result.best = std::move(best_);
    result.best_of_schedule = std::move(of_schedule_);
  }

 private:
  [[nodiscard]] std::vector<PlannedLayout>::const_iterator find(const std::string& schedule) const {
    return std::ranges::find_if(
        of_schedule_, [&](const PlannedLayout& one) { return one.layout.schedule == schedule; });
  }

  std::size_t num_best_;
  std::vector<PlannedLayout> best_;
  std::vector<PlannedLayout> of_schedule_;
};

/// Of all candidates, the one whose fullest rank needs least; the faster one of two.
PlannedLayout smallest_of(const config::RunConfig& config,
                          const std::vector<Candidate>& candidates,
                          LayoutParts& parts,
                          device::Backend& backend) {
  std::vector<std::pair<std::int64_t, const Candidate*>> by_bound;
  for (const Candidate& candidate : candidates) {
    by_bound.emplace_back(
        memory_bound(candidate, parts.memory_outside_passes_of(candidate.layout, candidate.stages)),
        &candidate);
  }
  std::ranges::stable_sort(by_bound, {}, &std::pair<std::int64_t, const Candidate*>::first);
  std::optional<PlannedLayout> smallest;
  for (const auto& [bound, candidate] : by_bound) {
    if (smallest && bound >= smallest->memory.total()) break;
    PlannedLayout planned = plan_layout(config, candidate->layout, backend);
    if (!smallest || planned.memory.total() < smallest->memory.total()) {
      smallest = std::move(planned);
    }
  }
  return smallest.value();
}

}  // namespace

PlannedLayout plan_layout(const config::RunConfig& config,
                          const Layout& layout,
                          device::Backend& backend) {
  const Job job = make_job(with_layout(on_modelled_devices(config), layout));
  const std::vector<RankMemory> memory = plan_memory(job, backend);
  const auto fullest = std::ranges::max_element(memory, {}, &RankMemory::total);
  const schedule::Timeline timeline = schedule::simulate(orders_of(job.training), job.costs);
  return {layout,
          timeline.makespan,
          timeline.bubble_fraction,
          outside_passes(job),
          static_cast<int>(std::distance(memory.begin(), fullest)),
          *fullest};
}

LayoutSearchResult search_layouts(const config::RunConfig& config,
                                  int num_ranks,
                                  const LayoutSearchLimits& limits,
                                  device::Backend& backend) {
  LayoutParts parts(on_modelled_devices(config), backend);
  const std::vector<Candidate> candidates = candidates_of(config, num_ranks, parts);
  LayoutSearchResult result;
  result.num_layouts = static_cast<std::int64_t>(candidates.size());
  Ranking ranking(limits.num_best);
  for (const Candidate& candidate : candidates) {
    const Layout& layout = candidate.layout;
    if (!ranking.has_room_for(layout.schedule, candidate.bound)) {
      ++result.num_passed_over;
      continue;
    }
    const std::vector<RankMemory> outside =
        parts.memory_outside_passes_of(layout, candidate.stages);
    if (memory_bound(candidate, outside) > limits.memory_per_rank) {
      ++result.num_too_large;
      continue;
    }
    const schedule::Timeline timeline = schedule::simulate(
        schedule::make_orders(layout.schedule, layout.pipeline, candidate.num_micro_batches,
                              layout.num_chunks, candidate.stages.costs),
        candidate.stages.costs);
    if (memory_bound(timeline, outside) > limits.memory_per_rank) {
      ++result.num_too_large;
      continue;
    }
    if (!ranking.has_room_for(layout.schedule, timeline.makespan + candidate.outside.total())) {
      continue;
    }
    const PlannedLayout planned = plan_layout(config, layout, backend);
    if (planned.memory.total() > limits.memory_per_rank) {
      ++result.num_too_large;
      continue;
    }
    ranking.add(planned);
  }
  ranking.move_to(result);
  if (result.best.empty() && !candidates.empty()) {
    result.smallest = smallest_of(config, candidates, parts, backend);
  }
  return result;
}

}  // namespace halfpipe::runtime
