// SPDX-License-Identifier: Apache-2.0
// optimizer.post_validation: the bits of steps that wait for the norm, whether the guess is right,
// wrong, or there is no norm.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/runtime/agreement.h"
#include "kernels/core/bfloat16.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

constexpr int kSteps = 8;
constexpr std::int64_t kPoisoned = 3;  // the step, where one is

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

enum class Poison : std::uint8_t { kNone, kOneStep };

Outcome run(config::RunConfig config, const std::string& post_validation, Poison poison) {
  config.optimizer.post_validation = post_validation;
  const Job job = make_job(config);
  const std::vector<RankMemory> planned = plan_memory(job, *cpu::make_cpu_backend(1));
  Outcome outcome;
  outcome.early.resize(static_cast<std::size_t>(mesh_of(config.parallel).num_ranks()));
  on_every_rank(job, 1, [&](PipelineTrainer& trainer, const RankGroups& groups) {
    const bool speaks = groups.world().rank() == 0;
    trainer.initialise_parameters(config.train.seed, 1);
    for (std::int64_t step = 0; step < kSteps; ++step) {
      const bool is_poisoned = poison == Poison::kOneStep && step == kPoisoned;
      float kept = 0.0F;
      if (is_poisoned) kept = set_a_scale(trainer, std::numeric_limits<float>::quiet_NaN());
      const StepResult result = small_step(trainer, config, step);
      if (is_poisoned) set_a_scale(trainer, kept);
      EXPECT_EQ(result.skipped, is_poisoned);
      if (!speaks) continue;
      if (result.skipped) {
        outcome.skipped.push_back(step);
      } else {
        outcome.losses.push_back(result.loss);
        outcome.norms.push_back(result.grad_norm);
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
};

enum class Numbers : std::uint8_t { kFloat32, kBFloat16, kBFloat16AndMoments };

class PostValidation : public ::testing::TestWithParam<std::tuple<Case, Numbers>> {
 protected:
  static config::RunConfig config() {
    const auto& [mesh, numbers] = GetParam();
    config::RunConfig config = small_config(mesh.pipeline > 1 ? "v-zb" : "1f1b", mesh.pipeline);
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
    EXPECT_EQ(rank.begun, kSteps);
    EXPECT_EQ(rank.put_back, 0);
  }

  // One step alone is clipped, by so little that no rank can tell from its part of the norm: but
  // the first replica of unsharded ones, which knows all of it.
  config::RunConfig clipped = config();
  const auto largest = std::ranges::max_element(free.norms);
  clipped.optimizer.clip_grad_norm = 0.999 * *largest;
  const Outcome once = run_both(clipped, Poison::kNone);
  EXPECT_FALSE(once.same_training(free));
  EXPECT_GE(once.most_put_back(), 1);
  EXPECT_GT(once.early.back().begun, once.early.back().put_back);

  config::RunConfig always = config();
  always.optimizer.clip_grad_norm = 1e-3;
  EXPECT_LE(run_both(always, Poison::kNone).most_put_back(), 1);
}

TEST_P(PostValidation, LeavesOutAStepThatIsNoNumber) {
  config::RunConfig unclipped = config();
  unclipped.optimizer.clip_grad_norm = 0.0;
  const Outcome on = run_both(unclipped, Poison::kOneStep);
  EXPECT_EQ(on.skipped, std::vector<std::int64_t>{kPoisoned});
  // Replicas but the first see no squares.
  EXPECT_EQ(on.most_put_back(), unclipped.parallel.data > 1 ? 1 : 0);
}

std::string name_of(const ::testing::TestParamInfo<PostValidation::ParamType>& tested) {
  const auto& [mesh, numbers] = tested.param;
  if (numbers == Numbers::kFloat32) return mesh.name + "_float32";
  return mesh.name + (numbers == Numbers::kBFloat16 ? "_bf16" : "_bf16_moments");
}

INSTANTIATE_TEST_SUITE_P(Meshes,
                         PostValidation,
                         ::testing::Combine(::testing::Values(Case{"dp2", 2, 1, 1, 0},
                                                              Case{"dp2_sharded", 2, 1, 1, 1},
                                                              Case{"tp2", 1, 1, 2, 0},
                                                              Case{"pp2", 1, 2, 1, 0},
                                                              Case{"dp2_pp2_sharded", 2, 2, 1, 1}),
                                            ::testing::Values(Numbers::kFloat32,
                                                              Numbers::kBFloat16,
                                                              Numbers::kBFloat16AndMoments)),
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
    EXPECT_THROW(small_step(trainer, config, 1), AgreedError);
    set_a_scale(trainer, kept);
    EXPECT_EQ(trainer.parameter_hash(), before);
    EXPECT_EQ(trainer.early_steps().put_back, trainer.replica());  // the second one's
  });
}

TEST(PostValidationMemory, IsThatOfWhatIsStepped) {
  config::RunConfig config = small_config("v-half", 2);
  const auto backend = cpu::make_cpu_backend(1);
  const std::vector<RankMemory> off = plan_memory(make_job(config), *backend);
  config.optimizer.post_validation = "on";
  const std::vector<RankMemory> on = plan_memory(make_job(config), *backend);
  for (std::size_t rank = 0; rank < on.size(); ++rank) {
    // Two moments, and then each value with its moments once more.
    EXPECT_EQ(2 * on[rank].optimizer, 5 * off[rank].optimizer) << rank;
    EXPECT_EQ(on[rank].total() - on[rank].optimizer, off[rank].total() - off[rank].optimizer);
  }
}

}  // namespace
}  // namespace halfpipe::runtime
