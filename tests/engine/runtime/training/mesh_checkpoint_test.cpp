// SPDX-License-Identifier: Apache-2.0
// A checkpoint of any mesh is one of every other: the same tensors bit for bit, and the same loss
// at the next step.
#include <gtest/gtest.h>

#include <bit>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/checkpoint/model_directory.h"
#include "engine/files/output_file.h"
#include "engine/runtime/training/checkpoint_save.h"
#include "engine/runtime/training/checkpointing.h"
#include "engine/runtime/training/load_parameters.h"
#include "tests/engine/checkpoint/scratch_directory.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSteps = 3;
/// float32 sums in another order.
constexpr double kTolerance = 1e-5;

struct Mesh {
  std::string name;
  int data;
  int tensor;
  int pipeline;
  int zero_stage = 0;
};

std::vector<Mesh> meshes() {
  return {
      {"dp2-tp2-pp2", 2, 2, 2},     {"tp4", 1, 4, 1}, {"pp8", 1, 1, 8}, {"dp8-zero", 8, 1, 1, 1},
      {"dp2-tp2-zero", 2, 2, 1, 1}, {"one", 1, 1, 1}};
}

class MeshCheckpoints : public ::testing::TestWithParam<DType> {
 protected:
  [[nodiscard]] config::RunConfig config_of(const Mesh& mesh) const {
    config::RunConfig config = small_config("1f1b", mesh.pipeline);
    config.model.num_layers = 8;
    config.model.num_heads = 4;
    config.parallel.data = mesh.data;
    config.parallel.tensor = mesh.tensor;
    config.optimizer.moments = GetParam();
    config.optimizer.zero_stage = mesh.zero_stage;
    config.train.micro_batch_size = 2;
    config.data.text = {(scratch_.path() / "text.txt").string()};
    config.model.vocab_size = 0;  // of the text: 26, which four ranks share with padding
    config.data.vocabulary = "characters";
    config.train.evaluate_every = 0;
    config.data.validation_fraction = 0.0;
    return config;
  }
  void SetUp() override {
    std::string text;
    for (int i = 0; i < 3000; ++i) text += static_cast<char>('a' + i % 26);
    files::write_file(scratch_.path() / "text.txt", text);
  }

  /// Trains `steps` steps, from `from` if that is not empty, and saves; the last loss.
  double run(const Mesh& mesh, const fs::path& from, std::int64_t steps, const fs::path& to) {
    TrainingInputs inputs;
    inputs.config = config_of(mesh);
    inputs.dataset = open_training_data(inputs.config);
    const config::RunConfig& config = inputs.config;
    const Job job = make_job(config);
    double loss = 0.0;
    on_every_rank(job, 1, [&](PipelineTrainer& trainer, const RankGroups& groups) {
      const std::int64_t first = from.empty() ? 0 : kSteps;
      if (from.empty()) {
        trainer.initialise_parameters(config.train.seed, 1);
      } else {
        load_checkpoint(from, trainer);
      }
      for (std::int64_t step = first; step < first + steps; ++step) {
        const double of_step = small_step(trainer, config, step).loss;
        if (groups.world().rank() == 0) loss = of_step;
      }
      if (to.empty()) return;
      checkpoint::CheckpointStore store(to, 0);
      if (groups.world().rank() == 0) store.prepare();
      CheckpointSave save(store, trainer, job, inputs, kSteps, trainer.parameter_hash(), groups);
      save_checkpoint(save, trainer, groups);
    });
    return loss;
  }

  [[nodiscard]] fs::path folder(const std::string& name) const { return scratch_.path() / name; }

 private:
  checkpoint::ScratchDirectory scratch_;
};

fs::path checkpoint_in(const fs::path& folder) {
  return *checkpoint::find_latest(folder);
}

/// Every tensor of a checkpoint, parameters and moments, by name.
std::map<std::string, std::vector<float>> tensors_in(const fs::path& directory) {
  std::map<std::string, std::vector<float>> all;
  const checkpoint::ModelReader model(directory);
  const checkpoint::ShardedTensors moments = checkpoint::open_optimizer(directory);
  for (const checkpoint::ShardedTensors* tensors : {&model.tensors, &moments}) {
    for (const std::string& name : tensors->names()) {
      std::int64_t count = 1;
      for (const std::int64_t extent : tensors->entry(name).shape) count *= extent;
      std::vector<float>& values = all[name];
      values.resize(static_cast<std::size_t>(count));
      tensors->read_float32(name, values);
    }
  }
  return all;
}

TEST_P(MeshCheckpoints, AreCheckpointsOfEveryMesh) {
  for (const Mesh& saver : meshes()) {
    run(saver, {}, kSteps, folder(saver.name));
    const fs::path saved = checkpoint_in(folder(saver.name));
    const auto expected = tensors_in(saved);
    ASSERT_GT(expected.size(), 200U);
    const double next_loss = run(saver, saved, 1, {});
    for (const Mesh& reader : meshes()) {
      SCOPED_TRACE(saver.name + " read by " + reader.name);
      const fs::path again = folder(saver.name + "-" + reader.name);
      run(reader, saved, 0, again);
      EXPECT_TRUE(tensors_in(checkpoint_in(again)) == expected);
      EXPECT_NEAR(run(reader, saved, 1, {}) / next_loss, 1.0, kTolerance);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Moments,
                         MeshCheckpoints,
                         ::testing::Values(DType::kFloat32, DType::kBFloat16),
                         [](const ::testing::TestParamInfo<DType>& tested) {
                           return tested.param == DType::kFloat32 ? "float32" : "bf16";
                         });

}  // namespace
}  // namespace halfpipe::runtime
