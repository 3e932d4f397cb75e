// SPDX-License-Identifier: Apache-2.0
// Every gradient is in one bucket, and every float of a bucket in one replica's part.
#include "engine/runtime/step/gradient_buckets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace halfpipe::runtime {
namespace {

model::Parameter parameter(std::int64_t count, bool has_head_gradient = false) {
  model::Parameter result;
  result.slice = TensorSlice::whole(count);
  result.has_head_gradient = has_head_gradient;
  return result;
}

std::vector<GradientBucket> buckets_of(const std::vector<model::Parameter>& parameters,
                                       const std::vector<int>& groups,
                                       int num_replicas = 1,
                                       const BucketSizes& sizes = {}) {
  return gradient_buckets(parameters, groups, num_replicas, sizes);
}

std::vector<GradientRange> wholes(const std::vector<GradientBucket>& buckets) {
  std::vector<GradientRange> ranges;
  for (const GradientBucket& bucket : buckets) ranges.push_back(bucket.whole());
  return ranges;
}

TEST(GradientBuckets, CoverParametersAndTheirPadding) {
  const std::vector<model::Parameter> parameters = {parameter(5), parameter(16), parameter(17)};
  EXPECT_EQ(wholes(buckets_of(parameters, {0, 0, 0})),
            (std::vector<GradientRange>{{0, 16 + 16 + 32}}));
  EXPECT_TRUE(buckets_of({}, {}).empty());
}

TEST(GradientBuckets, LeaveTheSecondGradientOfATiedTableOut) {
  const std::vector<model::Parameter> parameters = {parameter(5), parameter(20, true),
                                                    parameter(3)};
  const auto buckets = buckets_of(parameters, {0, 0, 0});
  EXPECT_EQ(wholes(buckets), (std::vector<GradientRange>{{0, 48}, {80, 96}}));
  EXPECT_EQ(buckets[0].num_without_value, 0U);
  EXPECT_EQ(buckets[1].num_without_value, 32U);
}

TEST(GradientBuckets, HaveGradientsOfOneGroup) {
  const std::vector<model::Parameter> parameters = {parameter(16), parameter(16), parameter(16)};
  const auto buckets = buckets_of(parameters, {2, 0, 0});
  EXPECT_EQ(wholes(buckets), (std::vector<GradientRange>{{0, 16}, {16, 48}}));
  EXPECT_EQ(buckets[0].group, 2);
  EXPECT_EQ(buckets[1].group, 0);
}

TEST(GradientBuckets, AreCutWhereTheyAreLarge) {
  const auto count = static_cast<std::int64_t>(2 * kBucketFloats + 16);
  EXPECT_EQ(wholes(buckets_of({parameter(count)}, {0})),
            (std::vector<GradientRange>{{0, kBucketFloats},
                                        {kBucketFloats, 2 * kBucketFloats},
                                        {2 * kBucketFloats, 2 * kBucketFloats + 16}}));
}

TEST(GradientBuckets, AreCutBetweenUnitsOfAParameter) {
  const std::vector<model::Parameter> parameters = {parameter(70), parameter(200), parameter(9)};
  const std::vector<std::size_t> starts = {0, 80, 288};
  for (const std::size_t bucket_floats : {16, 48, 100, 1000}) {
    for (const int replicas : {1, 2, 3, 8}) {
      const auto buckets =
          buckets_of(parameters, {0, 0, 0}, replicas, {.bucket_floats = bucket_floats, .unit = 32});
      std::size_t at = 0;
      for (const GradientBucket& bucket : buckets) {
        EXPECT_LE(bucket.whole().count(), std::max(bucket_floats, std::size_t{32}));
        for (int replica = 0; replica < replicas; ++replica) {
          const GradientRange part = bucket.part(replica);
          EXPECT_EQ(part.begin, at);
          const auto start = std::ranges::upper_bound(starts, part.begin) - 1;
          EXPECT_TRUE((part.begin - *start) % 32 == 0 || part.begin == 304) << part.begin;
          at = part.end;
        }
      }
      EXPECT_EQ(at, 304U);
    }
  }
}

TEST(GradientBuckets, AreDividedEvenly) {
  const auto buckets = buckets_of({parameter(60 * 16)}, {0}, 7, {.unit = 16});
  for (int replica = 0; replica < 7; ++replica) {
    EXPECT_NEAR(static_cast<double>(buckets[0].part(replica).count()), 960.0 / 7.0, 16.0);
  }
}

TEST(ElementsOfAReplica, AreThoseOfItsParts) {
  const std::vector<model::Parameter> parameters = {parameter(70), parameter(200, true),
                                                    parameter(9)};
  constexpr int kReplicas = 3;
  const auto buckets =
      buckets_of(parameters, {0, 0, 1}, kReplicas, {.bucket_floats = 96, .unit = 32});
  std::vector<std::vector<int>> owners;
  for (const model::Parameter& each : parameters) {
    owners.emplace_back(static_cast<std::size_t>(each.count()), -1);
  }
  for (int replica = 0; replica < kReplicas; ++replica) {
    const auto held = elements_of_replica(parameters, buckets, replica);
    for (std::size_t i = 0; i < held.size(); ++i) {
      std::int64_t end = -1;
      for (const optimizer::ElementRange& range : held[i]) {
        EXPECT_GT(range.begin, end);  // ranges that touch would be one
        EXPECT_EQ(range.begin % 32, 0);
        end = range.end;
        for (std::int64_t e = range.begin; e < range.end; ++e) {
          int& owner = owners[i][static_cast<std::size_t>(e)];
          EXPECT_EQ(owner, -1);
          owner = replica;
        }
      }
    }
  }
  for (const auto& of_parameter : owners) EXPECT_EQ(std::ranges::count(of_parameter, -1), 0);
  // As the buckets say: the second parameter's gradients begin at 80.
  for (const GradientBucket& bucket : buckets) {
    for (int replica = 0; replica < kReplicas; ++replica) {
      const GradientRange part = bucket.part(replica);
      for (std::size_t at = std::max<std::size_t>(part.begin, 80);
           at < std::min<std::size_t>(part.end, 280); ++at) {
        EXPECT_EQ(owners[1][at - 80], replica) << at;
      }
    }
  }
}

}  // namespace
}  // namespace halfpipe::runtime
