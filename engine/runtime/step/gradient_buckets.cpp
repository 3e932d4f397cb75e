// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step/gradient_buckets.h"

#include <algorithm>

#include "kernels/core/align.h"

namespace halfpipe::runtime {
namespace {

/// As ParameterSet::allocate lays it out.
std::size_t padded_count(const model::Parameter& parameter) {
  return padded_bytes(static_cast<std::size_t>(parameter.count()) * sizeof(float)) / sizeof(float);
}

std::size_t num_gradients(const model::Parameter& parameter) {
  return parameter.has_head_gradient ? 2 * padded_count(parameter) : padded_count(parameter);
}

/// Elements that stay together, with the padding behind a parameter's last.
struct Unit {
  GradientRange range;
  int group;
  std::size_t num_without_value;
};

std::vector<Unit> units_of(const std::vector<model::Parameter>& parameters,
                           const std::vector<int>& groups,
                           std::int64_t size) {
  std::vector<Unit> units;
  std::size_t at = 0;
  std::size_t num_without_value = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::size_t padded = padded_count(parameters[i]);
    const std::size_t end = at + padded;
    for (std::size_t begin = at; begin < end; begin += static_cast<std::size_t>(size)) {
      const std::size_t unit_end = std::min(begin + static_cast<std::size_t>(size), end);
      units.push_back({{begin, unit_end}, groups[i], num_without_value});
    }
    at += num_gradients(parameters[i]);
    num_without_value += num_gradients(parameters[i]) - padded;
  }
  return units;
}

/// Of units first .. last - 1: each cut at the end of the unit that is nearest to equal parts.
std::vector<std::size_t> cuts_of(const std::vector<Unit>& units,
                                 std::size_t first,
                                 std::size_t last,
                                 int num_replicas) {
  const GradientRange whole{units[first].range.begin, units[last - 1].range.end};
  std::vector<std::size_t> cuts{whole.begin};
  std::size_t next = first;
  for (int replica = 1; replica < num_replicas; ++replica) {
    const std::size_t ideal = whole.begin + whole.count() * static_cast<std::size_t>(replica) /
                                                static_cast<std::size_t>(num_replicas);
    // The middle of a unit decides on which side of the cut it goes.
    while (next < last && units[next].range.begin + units[next].range.end <= 2 * ideal) ++next;
    cuts.push_back(next == first ? whole.begin : units[next - 1].range.end);
  }
  cuts.push_back(whole.end);
  return cuts;
}

}  // namespace

std::vector<GradientBucket> gradient_buckets(const std::vector<model::Parameter>& parameters,
                                             const std::vector<int>& groups,
                                             int num_replicas,
                                             const BucketSizes& sizes) {
  const std::vector<Unit> units = units_of(parameters, groups, sizes.unit);
  std::vector<GradientBucket> buckets;
  for (std::size_t first = 0; first < units.size();) {
    std::size_t last = first + 1;
    while (last < units.size() && units[last].group == units[first].group &&
           units[last].range.begin == units[last - 1].range.end &&
           units[last].range.end - units[first].range.begin <= sizes.bucket_floats) {
      ++last;
    }
    buckets.push_back({units[first].group, cuts_of(units, first, last, num_replicas),
                       units[first].num_without_value});
    first = last;
  }
  return buckets;
}

std::vector<optimizer::ElementRanges> elements_of_replica(
    const std::vector<model::Parameter>& parameters,
    const std::vector<GradientBucket>& buckets,
    int replica) {
  std::vector<optimizer::ElementRanges> held(parameters.size());
  std::size_t begin = 0;  // of a parameter's gradient
  std::size_t first = 0;  // bucket that may hold some of it
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::size_t end = begin + static_cast<std::size_t>(parameters[i].count());
    while (first < buckets.size() && buckets[first].whole().end <= begin) ++first;
    for (std::size_t b = first; b < buckets.size() && buckets[b].whole().begin < end; ++b) {
      const GradientRange part = buckets[b].part(replica);
      const std::size_t from = std::max(part.begin, begin);
      const std::size_t to = std::min(part.end, end);
      if (from >= to) continue;
      const optimizer::ElementRange range{static_cast<std::int64_t>(from - begin),
                                          static_cast<std::int64_t>(to - begin)};
      optimizer::ElementRanges& ranges = held[i];
      if (!ranges.empty() && ranges.back().end == range.begin) {
        ranges.back().end = range.end;
      } else {
        ranges.push_back(range);
      }
    }
    begin += num_gradients(parameters[i]);
  }
  return held;
}

}  // namespace halfpipe::runtime
