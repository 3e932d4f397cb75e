// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/gradient_buckets.h"

#include <algorithm>

#include "kernels/core/align.h"

namespace halfpipe::runtime {
namespace {

constexpr std::size_t kLineFloats = kTensorAlignment / sizeof(float);

}  // namespace

std::vector<GradientRange> gradient_buckets(const std::vector<model::Parameter>& parameters,
                                            std::size_t bucket_floats) {
  // As ParameterSet::allocate lays them out.
  std::vector<GradientRange> runs;
  std::size_t at = 0;
  for (const model::Parameter& parameter : parameters) {
    const std::size_t padded =
        padded_bytes(static_cast<std::size_t>(parameter.count()) * sizeof(float)) / sizeof(float);
    if (!runs.empty() && runs.back().end == at) {
      runs.back().end += padded;
    } else {
      runs.push_back({at, at + padded});
    }
    at += parameter.has_head_gradient ? 2 * padded : padded;
  }
  std::vector<GradientRange> buckets;
  for (const GradientRange& run : runs) {
    for (std::size_t begin = run.begin; begin < run.end; begin += bucket_floats) {
      buckets.push_back({begin, std::min(begin + bucket_floats, run.end)});
    }
  }
  return buckets;
}

GradientRange part_of(const GradientRange& bucket, int replica, int num_replicas) {
  const auto parts = static_cast<std::size_t>(num_replicas);
  const std::size_t lines = ceil_div(bucket.count(), kLineFloats);
  const std::size_t floats = ceil_div(lines, parts) * kLineFloats;
  const std::size_t begin =
      std::min(bucket.begin + static_cast<std::size_t>(replica) * floats, bucket.end);
  return {begin, std::min(begin + floats, bucket.end)};
}

}  // namespace halfpipe::runtime
