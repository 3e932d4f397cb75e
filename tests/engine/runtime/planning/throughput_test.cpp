// SPDX-License-Identifier: Apache-2.0
// Tokens and model FLOPs per second of a step, against numbers worked out by hand.
#include "engine/runtime/planning/throughput.h"

#include <gtest/gtest.h>

#include "kernels/core/error.h"
#include "tests/engine/runtime/modelled_job.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

// small_config(): 16 sequences of 12 tokens. 5 blocks of 12 C^2 + 13 C, the last norm and the
// tied table of 29 tokens; C = 24. The table of positions does not count.
constexpr double kTokens = 16 * 12;
constexpr double kParameters = 5 * (12 * 24 * 24 + 13 * 24) + 2 * 24 + 29 * 24;
constexpr double kFlopsPerToken = 6 * kParameters + 6 * 5 * 24 * 12;

TEST(Throughput, IsOfTheJobAndOfADevice) {
  config::RunConfig config = small_config("1f1b", 2);
  config.model.tie_embeddings = true;
  const Throughput throughput = throughput_of(config, /*num_devices=*/4, /*step_seconds=*/0.5);
  EXPECT_EQ(throughput.tokens_per_second, kTokens / 0.5);
  EXPECT_EQ(throughput.tokens_per_second_per_device, kTokens / 0.5 / 4);
  EXPECT_DOUBLE_EQ(throughput.flops_per_second_per_device, kTokens / 0.5 / 4 * kFlopsPerToken);
  EXPECT_EQ(throughput.mfu, std::nullopt);  // a CPU has no data sheet
  EXPECT_THROW(static_cast<void>(throughput.known_mfu()), InternalError);
  EXPECT_EQ(model_flops_per_step(config), kTokens * kFlopsPerToken);
}

TEST(Throughput, HasAShareOfTheDataSheetsPeak) {
  config::RunConfig config = modelled_config("1f1b", 2, only_products());
  config.device.profile->float32 = {1e9, 0.25};  // reached: a quarter, which is no matter here
  const Throughput throughput = throughput_of(config, 2, 0.5);
  EXPECT_DOUBLE_EQ(throughput.known_mfu(), throughput.flops_per_second_per_device / 1e9);
}

// Replicas share the batch: it is not that of each.
TEST(Throughput, CountsTheTokensOfAllReplicasOnce) {
  config::RunConfig config = small_config("1f1b", 2);
  config.parallel.data = 2;
  EXPECT_EQ(config.tokens_per_step(), 16 * 12);
}

}  // namespace
}  // namespace halfpipe::runtime
