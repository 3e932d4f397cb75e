// SPDX-License-Identifier: Apache-2.0
// State that goes through files, and through a window that is smaller than a tensor, comes back.
#include "engine/runtime/training/load_parameters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/checkpoint/model_directory.h"
#include "engine/runtime/state/stage_files.h"
#include "kernels/core/align.h"
#include "kernels/core/bfloat16.h"
#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"
#include "tests/engine/checkpoint/scratch_directory.h"
#include "tests/engine/runtime/small_job.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::runtime {
namespace {

/// The only rank of a job.
struct Alone {
  explicit Alone(const config::RunConfig& config)
      : job(make_job(config)), trainer(job, *backend, *transport) {}

  /// Bytes of a moment of every parameter.
  [[nodiscard]] std::vector<std::vector<std::byte>> moments() {
    std::vector<std::vector<std::byte>> all;
    for (std::size_t i = 0; i < trainer.parameters().all().size(); ++i) {
      const auto count = static_cast<std::size_t>(trainer.parameters().all()[i].count());
      const std::size_t bytes = count * size_of(trainer.optimizer().moment_dtype());
      for (void* moment :
           {trainer.optimizer().first_moment(i), trainer.optimizer().second_moment(i)}) {
        const auto* from = static_cast<const std::byte*>(moment);
        all.emplace_back(from, from + bytes);
      }
    }
    return all;
  }

  Job job;
  std::unique_ptr<device::Backend> backend = cpu::make_cpu_backend(1);
  transport::LocalGroup group{1};
  std::unique_ptr<transport::Transport> transport = group.make_transport(0);
  PipelineTrainer trainer;
};

/// Its table takes more than a window.
config::RunConfig wide_config(DType moments) {
  config::RunConfig config = small_config("1f1b", 1);
  config.model.num_layers = 1;
  config.model.vocab_size = 100'000;
  config.model.tie_embeddings = false;
  config.train.global_batch_size = 2;
  config.optimizer.moments = moments;
  return config;
}

void fill(void* moment, DType dtype, const std::vector<float>& values) {
  if (dtype == DType::kFloat32) {
    std::ranges::copy(values, static_cast<float*>(moment));
  } else {
    std::ranges::transform(values, static_cast<BFloat16*>(moment), to_bfloat16);
  }
}

void fill_moments(Alone& rank) {
  const optimizer::AdamW& adamw = rank.trainer.optimizer();
  for (std::size_t i = 0; i < rank.trainer.parameters().all().size(); ++i) {
    const model::Parameter& parameter = rank.trainer.parameters().all()[i];
    const std::string& name = parameter.spec.name;
    fill(adamw.first_moment(i), adamw.moment_dtype(),
         testing::random_values("m " + name, parameter.count()));
    fill(adamw.second_moment(i), adamw.moment_dtype(),
         testing::random_values("v " + name, parameter.count()));
  }
}

void save(const std::filesystem::path& directory, Alone& rank) {
  StageFiles files(directory, rank.job.config, rank.trainer.stage(0).layers(), 1);
  files.create();
  HostWindow window(rank.trainer.backend(), rank.trainer.stream());
  const std::vector<SavedPart> parts =
      saved_parts(rank.trainer.parameters(), rank.trainer.optimizer(), rank.trainer.parts(), {});
  for (const SavedPart& part : parts) files.write(part, window);
  std::int64_t bytes = 0;
  for (const SavedPart& part : parts)
    bytes += static_cast<std::int64_t>(padded_bytes(part.bytes()));
  EXPECT_EQ(bytes, saved_bytes(rank.trainer.parameters().all(), rank.trainer.parts(),
                               rank.job.config.optimizer.moments, {}));
  files.close();
  files.finish(files.written());
  checkpoint::write_model_index(directory, rank.job.config.model, 1);
}

TEST(LoadCheckpoint, BringsBackParametersAndMoments) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const checkpoint::ScratchDirectory scratch;
    Alone saved(wide_config(dtype));
    saved.trainer.initialise_parameters(1, 1);
    fill_moments(saved);
    save(scratch.path(), saved);
    Alone loaded(wide_config(dtype));
    loaded.trainer.initialise_parameters(2, 1);
    ASSERT_NE(loaded.trainer.parameter_hash(), saved.trainer.parameter_hash());
    load_checkpoint(scratch.path(), loaded.trainer);
    EXPECT_EQ(loaded.trainer.parameter_hash(), saved.trainer.parameter_hash());
    EXPECT_TRUE(loaded.moments() == saved.moments());
  }
}

TEST(LoadInitialParameters, TakesTheFirstPositionsOfALongerModel) {
  const checkpoint::ScratchDirectory scratch;
  config::RunConfig config = wide_config(DType::kFloat32);
  Alone saved(config);
  saved.trainer.initialise_parameters(1, 1);
  save(scratch.path(), saved);
  config.model.seq_len = 7;
  Alone loaded(config);
  loaded.trainer.initialise_parameters(2, 1);
  load_initial_parameters(scratch.path(), config.model, loaded.trainer);
  for (const model::Parameter& parameter : loaded.trainer.parameters().all()) {
    const float* expected = saved.trainer.parameters().find(parameter.spec.name)->value;
    EXPECT_EQ(std::memcmp(parameter.value, expected,
                          static_cast<std::size_t>(parameter.count()) * sizeof(float)),
              0)
        << parameter.spec.name;
  }
}

}  // namespace
}  // namespace halfpipe::runtime
