// SPDX-License-Identifier: Apache-2.0
// Every gradient is in one bucket, and every float of a bucket in one replica's part.
#include "engine/runtime/gradient_buckets.h"

#include <gtest/gtest.h>

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

TEST(GradientBuckets, CoverParametersAndTheirPadding) {
  const std::vector<model::Parameter> parameters = {parameter(5), parameter(16), parameter(17)};
  EXPECT_EQ(gradient_buckets(parameters), (std::vector<GradientRange>{{0, 16 + 16 + 32}}));
  EXPECT_TRUE(gradient_buckets({}).empty());
}

TEST(GradientBuckets, LeaveTheSecondGradientOfATiedTableOut) {
  const std::vector<model::Parameter> parameters = {parameter(5), parameter(20, true),
                                                    parameter(3)};
  EXPECT_EQ(gradient_buckets(parameters), (std::vector<GradientRange>{{0, 48}, {80, 96}}));
}

TEST(GradientBuckets, AreCutWhereTheyAreLarge) {
  const auto count = static_cast<std::int64_t>(2 * kBucketFloats + 16);
  const std::vector<model::Parameter> parameters = {parameter(count)};
  EXPECT_EQ(gradient_buckets(parameters),
            (std::vector<GradientRange>{{0, kBucketFloats},
                                        {kBucketFloats, 2 * kBucketFloats},
                                        {2 * kBucketFloats, 2 * kBucketFloats + 16}}));
}

TEST(GradientBuckets, AreDividedAmongReplicas) {
  for (const std::size_t lines : {1, 2, 3, 7, 8, 100}) {
    const GradientRange bucket{64, 64 + 16 * lines};
    for (const int replicas : {1, 2, 3, 4, 8}) {
      std::size_t at = bucket.begin;
      for (int replica = 0; replica < replicas; ++replica) {
        const GradientRange part = part_of(bucket, replica, replicas);
        EXPECT_EQ(part.begin, at);
        EXPECT_EQ(part.begin % 16, 0U);
        EXPECT_LE(part.count(), part_of(bucket, 0, replicas).count());
        at = part.end;
      }
      EXPECT_EQ(at, bucket.end);
    }
  }
}

}  // namespace
}  // namespace halfpipe::runtime
