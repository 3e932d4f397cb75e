// SPDX-License-Identifier: Apache-2.0
// optimizer.post_validation: ranks that go on before the norm is known have the bits of those that
// wait for it, whether the guess is right, wrong, or there is no norm.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/runtime/ranks/agreement.h"
#include "kernels/core/bfloat16.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

constexpr int kSteps = 8;
// The steps, where some are. The second is the one that warms up while the first is not decided.
constexpr std::int64_t kPoisoned = 3;
constexpr std::int64_t kNumPoisoned = 2;

struct Outcome {
  std::vector<double> losses;  // of steps that were not skipped
  std::vector<double> norms;
  std::vector<std::int64_t> skipped;
  std::string parameter_hash;
  std::vector<EarlySteps> early;  // by rank of the job

  [[nodiscard]] bool same_training(const Outcome& other) const {
    return losses == other.losses && norms == other.norms && skipped == other.skipped &&
           parameter_hash == other.parameter_hash;
  }
  [[nodiscard]] std::int64_t most_put_back() const {
    return std::ranges::max_element(early, {}, &EarlySteps::put_back)->put_back;
  }
};

/// Sets a number that every token's loss depends on, where it is, and the copy of it; returns the
/// one before.
float set_a_scale(PipelineTrainer& trainer, float value) {
  model::Parameter* const norm = trainer.parameters().find("transformer.ln_f.weight");
  if (norm == nullptr) return 0.0F;
  if (norm->copy != nullptr) norm->copy[0] = to_bfloat16(value);
  return std::exchange(norm->value[0], value);
}

enum class Poison : std::uint8_t { kNone, kTwoSteps };

Outcome run(config::RunConfig config, const std::string& post_validation, Poison poison) {
  config.optimizer.post_validation = post_validation;
  const Job job = make_job(config);
  const std::vector<RankMemory> planned = plan_memory(job, *cpu::make_cpu_backend(1));
  Outcome outcome;
  outcome.early.resize(static_cast<std::size_t>(mesh_of(config.parallel).num_ranks()));
  on_every_rank(job, 1, [&](PipelineTrainer& trainer, const RankGroups& groups) {
    const bool speaks = groups.world().rank() == 0;
    trainer.initialise_parameters(config.train.seed, 1);
    float kept = 0.0F;
    std::vector<StepResult> results;
    for (std::int64_t step = 0; step < kSteps; ++step) {
      const bool begins = poison == Poison::kTwoSteps && step == kPoisoned;
      const bool ends = poison == Poison::kTwoSteps && step == kPoisoned + kNumPoisoned;
      if (begins || ends) {
        if (const auto result = trainer.complete()) results.push_back(*result);
      }
      if (begins) kept = set_a_scale(trainer, std::numeric_limits<float>::quiet_NaN());
      if (ends) set_a_scale(trainer, kept);
      const auto ended = small_step_on(trainer, config, step,
                                       step + 1 == kSteps ? PipelineTrainer::Ending::kNow
                                                          : PipelineTrainer::Ending::kWithTheNext);
      results.insert(results.end(), ended.begin(), ended.end());
    }
    EXPECT_EQ(results.size(), static_cast<std::size_t>(kSteps));
    for (std::size_t step = 0; step < results.size() && speaks; ++step) {
      if (results[step].skipped) {
        outcome.skipped.push_back(static_cast<std::int64_t>(step));
      } else {
        outcome.losses.push_back(results[step].loss);
        outcome.norms.push_back(results[step].grad_norm);
      }
    }
    const std::string hash = trainer.parameter_hash();
    if (speaks) outcome.parameter_hash = hash;
    outcome.early[static_cast<std::size_t>(groups.world().rank())] = trainer.early_steps();
    EXPECT_EQ(trainer.measured_memory(),
              planned[static_cast<std::size_t>(groups.place().pipeline)]);
  });
  return outcome;
}

struct Case {
  std::string name;
  int data;
  int pipeline;
  int tensor;
  int zero_stage;
  std::string schedule;
};

enum class Numbers : std::uint8_t { kFloat32, kBFloat16, kBFloat16AndMoments };

class PostValidation : public ::testing::TestWithParam<std::tuple<Case, Numbers>> {
 protected:
  static config::RunConfig config() {
    const auto& [mesh, numbers] = GetParam();
    config::RunConfig config = small_config(mesh.schedule, mesh.pipeline);
    config.model.num_heads = 4;
    config.parallel.data = mesh.data;
    config.parallel.tensor = mesh.tensor;
    config.optimizer.zero_stage = mesh.zero_stage;
    config.optimizer.not_finite = "skip";
    if (numbers != Numbers::kFloat32) config.model.dtype = DType::kBFloat16;
    if (numbers == Numbers::kBFloat16AndMoments) config.optimizer.moments = DType::kBFloat16;
    return config;
  }
  /// Off and on.
  static Outcome run_both(const config::RunConfig& config, Poison poison) {
    const Outcome off = run(config, "off", poison);
    const Outcome on = run(config, "on", poison);
    EXPECT_TRUE(on.same_training(off));
    EXPECT_EQ(off.early.front().begun, 0);
    return on;
  }
};

TEST_P(PostValidation, HasTheBitsOfStepsThatWait) {
  config::RunConfig unclipped = config();
  unclipped.optimizer.clip_grad_norm = 0.0;
  const Outcome free = run_both(unclipped, Poison::kNone);
  for (const EarlySteps& rank : free.early) {
    EXPECT_EQ(rank.begun, kSteps - 1);  // nothing comes after the last one
    EXPECT_EQ(rank.put_back, 0);
  }

  // One step alone is clipped. The one before is not, so it is guessed that this one is not.
  config::RunConfig clipped = config();
  const auto largest = std::max_element(free.norms.begin(), free.norms.end() - 1);
  clipped.optimizer.clip_grad_norm = 0.999 * *largest;
  const Outcome once = run_both(clipped, Poison::kNone);
  EXPECT_FALSE(once.same_training(free));
  for (const EarlySteps& rank : once.early) {
    EXPECT_GE(rank.put_back, 1);
    EXPECT_GT(rank.begun, rank.put_back);
  }

  config::RunConfig always = config();
  always.optimizer.clip_grad_norm = 1e-3;
  EXPECT_EQ(run_both(always, Poison::kNone).most_put_back(), 1);
}

TEST_P(PostValidation, LeavesOutStepsThatAreNoNumber) {
  config::RunConfig unclipped = config();
  unclipped.optimizer.clip_grad_norm = 0.0;
  const Outcome on = run_both(unclipped, Poison::kTwoSteps);
  EXPECT_EQ(on.skipped, (std::vector<std::int64_t>{kPoisoned, kPoisoned + 1}));
  // After the first of them no rank guesses that the next one is better.
  for (const EarlySteps& rank : on.early) EXPECT_EQ(rank.put_back, 1);
}

std::string name_of(const ::testing::TestParamInfo<PostValidation::ParamType>& tested) {
  const auto& [mesh, numbers] = tested.param;
  if (numbers == Numbers::kFloat32) return mesh.name + "_float32";
  return mesh.name + (numbers == Numbers::kBFloat16 ? "_bf16" : "_bf16_moments");
}

INSTANTIATE_TEST_SUITE_P(
    Meshes,
    PostValidation,
    ::testing::Combine(
        ::testing::Values(Case{"dp2", 2, 1, 1, 0, "1f1b"},
                          Case{"dp2_sharded", 2, 1, 1, 1, "1f1b"},
                          Case{"tp2", 1, 1, 2, 0, "1f1b"},
                          Case{"pp2_v_zb", 1, 2, 1, 0, "v-zb"},
                          Case{"pp4_1f1b", 1, 4, 1, 0, "1f1b"},
                          Case{"pp4_zb_1p", 1, 4, 1, 0, "zb-1p"},
                          Case{"pp4_v_half", 1, 4, 1, 0, "v-half"},
                          Case{"pp4_v_zb", 1, 4, 1, 0, "v-zb"},
                          Case{"pp2_interleaved", 1, 2, 1, 0, "interleaved"},
                          Case{"dp2_pp2_sharded", 2, 2, 1, 1, "v-zb"},
                          Case{"dp2_pp2_tp2", 2, 2, 2, 1, "zb-1p"}),
        ::testing::Values(Numbers::kFloat32, Numbers::kBFloat16, Numbers::kBFloat16AndMoments)),
    name_of);

TEST(PostValidationStop, LeavesParametersAsTheyWere) {
  config::RunConfig config = small_config("v-half", 2);
  config.parallel.data = 2;
  config.optimizer.clip_grad_norm = 0.0;
  config.optimizer.post_validation = "on";
  on_every_rank(make_job(config), 1, [&](PipelineTrainer& trainer, const RankGroups&) {
    trainer.initialise_parameters(config.train.seed, 1);
    small_step(trainer, config, 0);
    const std::string before = trainer.parameter_hash();
    const float kept = set_a_scale(trainer, std::numeric_limits<float>::quiet_NaN());
    EXPECT_TRUE(small_step_on(trainer, config, 1, PipelineTrainer::Ending::kWithTheNext).empty());
    EXPECT_THROW((void)trainer.complete(), AgreedError);
    EXPECT_FALSE(trainer.has_open_step());
    set_a_scale(trainer, kept);
    EXPECT_EQ(trainer.parameter_hash(), before);
    EXPECT_EQ(trainer.early_steps().put_back, 1);
  });
}

TEST(PostValidationStop, LeavesTheResultOfTheStepBefore) {
  config::RunConfig config = small_config("v-half", 2);
  config.optimizer.clip_grad_norm = 0.0;
  config.optimizer.post_validation = "on";
  on_every_rank(make_job(config), 1, [&](PipelineTrainer& trainer, const RankGroups&) {
    trainer.initialise_parameters(config.train.seed, 1);
    config::RunConfig too_far = config;
    too_far.optimizer.learning_rate = 1e38;  // nothing can be computed after that step
    EXPECT_TRUE(small_step_on(trainer, too_far, 0, PipelineTrainer::Ending::kWithTheNext).empty());
    const auto ended = small_step_on(trainer, config, 1, PipelineTrainer::Ending::kNow);
    ASSERT_EQ(ended.size(), 2U);
    EXPECT_FALSE(ended[0].skipped);
    EXPECT_NO_THROW(trainer.refuse(0, ended[0]));
    EXPECT_TRUE(ended[1].skipped);
    EXPECT_THROW(trainer.refuse(1, ended[1]), AgreedError);
  });
}

// Optimizer state with post_validation on, where it was `off` without.
TEST(PostValidationMemory, IsOneCopyOfTheValuesThatChangeEarly) {
  const auto backend = cpu::make_cpu_backend(1);
  const auto memory = [&](config::RunConfig config, const char* post_validation) {
    config.optimizer.post_validation = post_validation;
    return plan_memory(make_job(config), *backend);
  };
  config::RunConfig float32 = small_config("v-half", 2);
  config::RunConfig sharded = float32;
  sharded.parallel.data = 2;
  sharded.optimizer.zero_stage = 1;
  for (const config::RunConfig& config : {float32, sharded}) {
    const std::vector<RankMemory> off = memory(config, "off");
    const std::vector<RankMemory> on = memory(config, "on");
    for (std::size_t rank = 0; rank < on.size(); ++rank) {
      EXPECT_EQ(2 * on[rank].optimizer, 3 * off[rank].optimizer) << rank;  // beside two moments
      EXPECT_EQ(on[rank].total() - on[rank].optimizer, off[rank].total() - off[rank].optimizer);
    }
  }
  config::RunConfig copies = float32;
  copies.model.dtype = DType::kBFloat16;
  EXPECT_EQ(memory(copies, "on"), memory(copies, "off"));
}

/// 4096 tokens a step, in bfloat16.
config::RunConfig long_job(const char* schedule) {
  config::RunConfig config = small_config(schedule, 4);
  config.model.dtype = DType::kBFloat16;
  config.model.tie_embeddings = false;
  config.model.seq_len = 4096 / config.train.global_batch_size;
  return config;
}

bool is_on_by_itself(const config::RunConfig& config) {
  EXPECT_EQ(config.optimizer.post_validation, "auto");
  return make_job(config).config.steps_early();
}

TEST(PostValidationByItself, IsOnWhereTheFirstRankIsDoneBeforeTheLast) {
  EXPECT_TRUE(is_on_by_itself(long_job("zb-2p")));
  EXPECT_FALSE(is_on_by_itself(long_job("1f1b")));
}

TEST(PostValidationByItself, IsOffWhereItTakesMoreThanItSaves) {
  config::RunConfig tied = long_job("zb-2p");
  tied.model.tie_embeddings = true;
  EXPECT_FALSE(is_on_by_itself(tied));
  config::RunConfig few_tokens = long_job("zb-2p");
  few_tokens.model.seq_len = 4;
  EXPECT_FALSE(is_on_by_itself(few_tokens));
  config::RunConfig float32 = long_job("zb-2p");
  float32.model.dtype = DType::kFloat32;
  EXPECT_FALSE(is_on_by_itself(float32));
  config::RunConfig sharded = long_job("zb-2p");
  sharded.parallel.data = 2;
  sharded.optimizer.zero_stage = 1;
  EXPECT_FALSE(is_on_by_itself(sharded));
}

}  // namespace
}  // namespace halfpipe::runtime
