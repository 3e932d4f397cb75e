// SPDX-License-Identifier: Apache-2.0
// The gradients of a rank, cut into the pieces in which replicas exchange them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/model/parameter.h"
#include "engine/optimizer/element_ranges.h"
#include "kernels/ops/reduction.h"

namespace halfpipe::runtime {

/// Floats of ParameterSet::gradients().
struct GradientRange {
  std::size_t begin;
  std::size_t end;

  [[nodiscard]] std::size_t count() const { return end - begin; }
  friend bool operator==(const GradientRange&, const GradientRange&) = default;
};

/// Gradients that lie side by side and are final at the same time; so do the values of their
/// parameters.
struct GradientBucket {
  int group;                      // of its parameters
  std::vector<std::size_t> cuts;  // [replicas + 1], not falling
  std::size_t num_without_value;  // floats before it that are no parameter's first gradient

  [[nodiscard]] GradientRange whole() const { return {cuts.front(), cuts.back()}; }
  /// What a replica adds up. May be empty.
  [[nodiscard]] GradientRange part(int replica) const {
    const auto index = static_cast<std::size_t>(replica);
    return {cuts[index], cuts[index + 1]};
  }
};

/// At most 4 MiB: large enough for a link, small beside the gradients.
inline constexpr std::size_t kBucketFloats = std::size_t{1} << 20;

struct BucketSizes {
  std::size_t bucket_floats = kBucketFloats;
  /// Elements of a parameter that stay together: buckets and parts begin at multiples of it, or at
  /// the first element. So sums of squares of parts are those of the whole.
  std::int64_t unit = ops::kSquaresCut;
};

/// All gradients of parameters in the order of the set, without those of a tied table's second use,
/// divided among replicas as evenly as the units allow. groups: of each parameter; a bucket has
/// parameters of one.
[[nodiscard]] std::vector<GradientBucket> gradient_buckets(
    const std::vector<model::Parameter>& parameters,
    const std::vector<int>& groups,
    int num_replicas,
    const BucketSizes& sizes = {});

/// For each parameter, the elements in a replica's parts.
[[nodiscard]] std::vector<optimizer::ElementRanges> elements_of_replica(
    const std::vector<model::Parameter>& parameters,
    const std::vector<GradientBucket>& buckets,
    int replica);

}  // namespace halfpipe::runtime
