// SPDX-License-Identifier: Apache-2.0
// The gradients of a rank, cut into the pieces in which replicas exchange them.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/model/parameter.h"

namespace halfpipe::runtime {

/// Floats of ParameterSet::gradients().
struct GradientRange {
  std::size_t begin;
  std::size_t end;

  [[nodiscard]] std::size_t count() const { return end - begin; }
  friend bool operator==(const GradientRange&, const GradientRange&) = default;
};

/// At most 4 MiB: large enough for a link, small beside the gradients.
inline constexpr std::size_t kBucketFloats = std::size_t{1} << 20;

/// All gradients of parameters in the order of the set, without those of a tied table's second use.
[[nodiscard]] std::vector<GradientRange> gradient_buckets(
    const std::vector<model::Parameter>& parameters, std::size_t bucket_floats = kBucketFloats);

/// The part of a bucket that a replica adds up. Equal parts of whole cache lines; the last ones may
/// be shorter or empty.
[[nodiscard]] GradientRange part_of(const GradientRange& bucket, int replica, int num_replicas);

}  // namespace halfpipe::runtime
