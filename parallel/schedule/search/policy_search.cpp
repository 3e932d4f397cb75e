// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/policy_search.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <utility>

namespace halfpipe::schedule {
namespace {

constexpr double kFreshShare = 0.2;  // of the steps after the library: policies drawn anew

ListPolicy plain_policy(int num_chunks, double gap_down) {
  const auto chunks = static_cast<std::size_t>(num_chunks);
  ListPolicy policy;
  policy.hop_gaps.assign(2 * chunks, 0.0);
  policy.turn_gaps.assign(2 * chunks - 1, 0.0);
  // Legs 0, 2, ... go down the ranks where placements zigzag: F of even chunks, B of odd ones.
  for (std::size_t leg = 0; leg < policy.hop_gaps.size(); leg += 2) policy.hop_gaps[leg] = gap_down;
  return policy;
}

/// Policies that together do best on random problems: for loose and tight limits, few and many
/// chunks. Where memory is tight, an F that starts long before its target (eagerness) takes memory
/// that others need.
struct Sample {
  double gap_down;
  double eagerness;
  double early_cap;
  double early_cap_slope;
  double interval;
  double weight_overhang;
  bool weights_make_room;
};
constexpr double kNoLimit = std::numeric_limits<double>::infinity();
constexpr std::array<Sample, 12> kSamples = {{
    {3.0, kNoLimit, 0.9, 0.35, 0.93, 0.5, true},
    {0.0, 12.0, 1.0, 0.2, 0.85, 0.0, false},
    {0.0, 8.0, 1.0, 0.35, 1.0, 0.0, true},
    {0.0, 12.0, 1.0, 0.0, 0.93, 0.5, true},
    {3.0, kNoLimit, 1.0, 0.35, 1.0, 0.5, false},
    {1.0, 12.0, 1.0, 0.35, 0.93, 0.0, true},
    {0.0, 5.0, 1.0, 0.2, 1.0, 0.5, false},
    {0.5, 12.0, 1.0, 0.0, 0.85, 0.0, true},
    {2.0, kNoLimit, 0.9, 0.35, 0.93, 0.0, true},
    {2.0, 12.0, 1.0, 0.35, 0.85, 0.0, true},
    {0.0, 3.0, 1.0, 0.35, 1.0, 0.0, false},
    {0.5, 5.0, 1.0, 0.0, 0.93, 0.5, false},
}};

ListPolicy policy_of(const Sample& sample, int num_chunks) {
  ListPolicy policy = plain_policy(num_chunks, sample.gap_down);
  policy.eagerness = sample.eagerness;
  policy.early_cap = sample.early_cap;
  policy.early_cap_slope = sample.early_cap_slope;
  policy.interval = sample.interval;
  policy.weight_overhang = sample.weight_overhang;
  policy.weights_make_room = sample.weights_make_room;
  return policy;
}

/// F that takes its time on the way up, micro-batches a little apart: what leads to the best orders
/// of many ranks where memory is less than half of 1F1B's, and the other policies do not.
ListPolicy slow_upwards(int num_chunks) {
  ListPolicy policy = plain_policy(num_chunks, 0.0);
  for (int leg = 1; leg < num_chunks; leg += 2)
    policy.hop_gaps[static_cast<std::size_t>(leg)] = 1.9;
  policy.interval = 1.07;
  policy.early_cap = 1.0;
  policy.early_cap_slope = 0.35;
  policy.eagerness = 11.0;
  return policy;
}

/// W that waits until it would be nine passes late: the same, where memory leaves more room.
ListPolicy late_weights(int num_chunks) {
  ListPolicy policy = plain_policy(num_chunks, 0.6);
  policy.interval = 0.97;
  policy.early_cap = 1.0;
  policy.early_cap_slope = 0.1;
  policy.eagerness = 4.0;
  policy.weight_delay = 9.0;
  policy.weights_make_room = true;
  return policy;
}

}  // namespace

std::vector<ListPolicy> policy_library(int num_chunks) {
  std::vector<ListPolicy> library;
  for (const Sample& sample : kSamples) library.push_back(policy_of(sample, num_chunks));
  for (const bool make_room : {true, false}) {
    for (const double overhang : {0.0, 0.5}) {
      for (const auto& [cap, slope] :
           {std::pair{0.9, 0.35}, std::pair{1.0, 0.0}, std::pair{0.85, 0.45}}) {
        for (const double gap : {0.0, 1.0, 2.0, 4.0, 0.5, 3.0}) {
          ListPolicy policy = plain_policy(num_chunks, gap);
          policy.early_cap = cap;
          policy.early_cap_slope = slope;
          policy.weight_overhang = overhang;
          policy.weights_make_room = make_room;
          library.push_back(policy);
        }
      }
    }
  }
  library.push_back(slow_upwards(num_chunks));
  library.push_back(late_weights(num_chunks));
  return library;
}

PolicySearch::PolicySearch(const std::vector<const Instance*>& views, std::uint64_t seed)
    : timetable_(*views.front()),
      random_(seed),
      num_stages_(views.front()->num_stages),
      num_ranks_(static_cast<std::size_t>(views.front()->num_ranks)),
      policies_(policy_library(views.front()->placement.num_chunks())) {
  schedulers_.reserve(views.size());
  for (const Instance* view : views) schedulers_.emplace_back(*view);
}

std::vector<PolicySearch::Point> PolicySearch::library() const {
  std::vector<Point> points;
  const auto add = [&](std::size_t first, std::size_t last, std::size_t view) {
    for (std::size_t i = first; i < last; ++i) points.push_back({policies_[i], view});
  };
  for (std::size_t view = 0; view < schedulers_.size(); ++view) add(0, kSamples.size(), view);
  for (std::size_t i = kSamples.size(); i < policies_.size(); ++i) {
    for (std::size_t view = 0; view < schedulers_.size(); ++view) add(i, i + 1, view);
  }
  return points;
}

void PolicySearch::try_point(const Point& point, CandidatePool& pool) {
  if (!schedulers_[point.view].run(point.policy, orders_) || !timetable_.load(orders_)) return;
  pool.offer(timetable_.cost(), orders_);
  remember(timetable_.cost().weighted(), point);
}

void PolicySearch::remember(double cost, const Point& point) {
  const auto place =
      std::lower_bound(best_.begin(), best_.end(), cost,
                       [](const Scored& one, double other) { return one.cost < other; });
  if (place != best_.end() && place->cost == cost) {
    place->point = point;  // plateaus are crossed by moving on
    return;
  }
  best_.insert(place, {cost, point});
  if (best_.size() > kNumBest) best_.pop_back();
}

std::vector<PolicySearch::Point> PolicySearch::best_points() const {
  std::vector<Point> points;
  for (const Scored& scored : best_) points.push_back(scored.point);
  return points;
}

void PolicySearch::step(CandidatePool& pool) {
  if (best_.empty() || random_.chance(kFreshShare)) {
    try_point(random_point(), pool);
    return;
  }
  Point point = best_[random_.chance(0.3) ? 0 : random_.below(best_.size())].point;
  const std::uint64_t changes = 1 + random_.below(3);
  for (std::uint64_t i = 0; i < changes; ++i) mutate_once(point);
  try_point(point, pool);
}

PolicySearch::Point PolicySearch::random_point() {
  constexpr int kChanges = 6;
  Point point{policies_[random_.below(policies_.size())], random_.below(schedulers_.size())};
  for (int i = 0; i < kChanges; ++i) mutate_once(point);
  return point;
}

void PolicySearch::mutate_once(Point& point) {
  ListPolicy& policy = point.policy;
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  switch (random_.below(noise_allowed_ ? 16 : 12)) {
    case 0:
    case 1: {
      double& gap = policy.hop_gaps[random_.below(policy.hop_gaps.size())];
      gap = std::clamp(gap + random_.between(-1.5, 1.5), -1.0, 8.0);
      return;
    }
    case 2: {
      double& gap = policy.turn_gaps[random_.below(policy.turn_gaps.size())];
      gap = std::clamp(gap + random_.between(-3.0, 3.0), -6.0, 20.0);
      return;
    }
    case 3:
      policy.interval = std::clamp(policy.interval * random_.between(0.9, 1.12), 0.6, 2.0);
      return;
    case 4:
      policy.early_cap = std::clamp(policy.early_cap + random_.between(-0.15, 0.15), 0.3, 1.0);
      return;
    case 5:
      policy.early_cap_slope =
          std::clamp(policy.early_cap_slope + random_.between(-0.2, 0.2), -0.2, 0.9);
      return;
    case 6:
      policy.weight_overhang = random_.chance(0.3) ? 0.0 : random_.uniform();
      return;
    case 7:
      policy.eagerness = random_.chance(0.4) ? kInfinite : random_.between(0.0, 12.0);
      return;
    case 8:
      if (random_.chance(0.4)) {
        policy.weights_make_room = !policy.weights_make_room;
      } else if (random_.chance(0.5)) {
        policy.weight_delay = random_.chance(0.4) ? kInfinite : random_.between(0.0, 12.0);
      } else {
        point.view = random_.below(schedulers_.size());
      }
      return;
    case 9:
    case 10:
    case 11: {  // one rank, or all from one on
      const std::size_t ranks = num_ranks_;
      policy.cap_shift.resize(ranks, 0.0);
      const std::size_t first = random_.below(ranks);
      const std::size_t last = random_.chance(0.6) ? first : random_.below(ranks);
      const double change = random_.chance(0.5) ? 1.0 : -1.0;
      for (std::size_t rank = std::min(first, last); rank <= std::max(first, last); ++rank) {
        policy.cap_shift[rank] += change;
      }
      return;
    }
    default: {
      const auto rows = static_cast<std::size_t>(2 * num_stages_);
      policy.target_noise.resize(rows, 0.0);
      policy.target_noise[random_.below(rows)] += random_.between(-2.0, 2.0);
      return;
    }
  }
}

}  // namespace halfpipe::schedule
