// SPDX-License-Identifier: Apache-2.0
// What is saved in the background is the state of the moment when that began.
#include "engine/runtime/training/background_save.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "engine/checkpoint/model_directory.h"
#include "kernels/core/error.h"
#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"
#include "tests/engine/checkpoint/scratch_directory.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

/// The only rank of a job, with a run's folder for its checkpoints.
class BackgroundSaves : public testing::Test {
 protected:
  BackgroundSaves() {
    checkpoint::write_bytes(scratch_ / "text", std::string(1000, 'x'));
    inputs_.config = job_.config;
    inputs_.config.data.text = {(scratch_ / "text").string()};
    inputs_.dataset = data::open_dataset(inputs_.config.data);
    store_.prepare();
    trainer_.initialise_parameters(1, 1);
  }

  [[nodiscard]] std::unique_ptr<CheckpointSave> save_of(std::int64_t step) {
    return std::make_unique<CheckpointSave>(store_, trainer_, job_, inputs_, step, "hash", groups_);
  }
  void fill_parameters(float value) {
    for (const model::Parameter& each : trainer_.parameters().all()) {
      std::fill_n(each.value, each.count(), value);
    }
  }
  /// Of a checkpoint, the values of the final norm.
  [[nodiscard]] std::vector<float> saved_values(std::int64_t step) const {
    std::vector<float> values(24);
    checkpoint::ModelReader(store_.directory_of(step))
        .tensors.read_float32("transformer.ln_f.weight", values);
    return values;
  }

  checkpoint::ScratchDirectory scratch_;
  Job job_ = make_job(small_config("1f1b", 1));
  TrainingInputs inputs_;
  std::unique_ptr<device::Backend> backend_ = cpu::make_cpu_backend(1);
  transport::LocalGroup group_{1};
  std::unique_ptr<transport::Transport> transport_ = group_.make_transport(0);
  RankGroups groups_{job_.config.parallel, *transport_};
  PipelineTrainer trainer_{job_, *backend_, *transport_};
  checkpoint::CheckpointStore store_{scratch_ / "run", 0};
  std::vector<std::int64_t> completed_;
  BackgroundSave saves_{trainer_, groups_,
                        [this](const CheckpointSave& save) { completed_.push_back(save.step()); }};
};

using Steps = std::vector<std::int64_t>;

TEST_F(BackgroundSaves, HoldTheStateOfTheirStepAndComeWithLaterOnes) {
  fill_parameters(1.0F);
  saves_.start(save_of(1));
  fill_parameters(2.0F);
  EXPECT_TRUE(completed_.empty());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (completed_.empty() && std::chrono::steady_clock::now() < deadline) {
    saves_.look();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(completed_, Steps{1});
  EXPECT_EQ(saved_values(1), std::vector<float>(24, 1.0F));
}

TEST_F(BackgroundSaves, AreCompletedByTheNext) {
  fill_parameters(1.0F);
  saves_.start(save_of(1));
  fill_parameters(2.0F);
  saves_.start(save_of(2));
  EXPECT_EQ(completed_, Steps{1});
  fill_parameters(3.0F);
  saves_.complete();
  EXPECT_EQ(completed_, (Steps{1, 2}));
  EXPECT_EQ(saved_values(1), std::vector<float>(24, 1.0F));
  EXPECT_EQ(saved_values(2), std::vector<float>(24, 2.0F));
}

TEST_F(BackgroundSaves, ThatFailAreAbandoned) {
  saves_.start(save_of(1));
  // Nothing that holds a folder can be sealed.
  std::filesystem::create_directory(store_.working_directory(1) / "folder");
  EXPECT_THROW(saves_.complete(), Error);
  EXPECT_TRUE(completed_.empty());
  EXPECT_FALSE(std::filesystem::exists(store_.working_directory(1)));
  saves_.start(save_of(2));
  saves_.complete();
  EXPECT_EQ(completed_, Steps{2});
}

TEST_F(BackgroundSaves, ThatAreGivenUpAreNoCheckpoints) {
  {
    BackgroundSave saves(trainer_, groups_, [](const CheckpointSave&) {});
    saves.start(save_of(1));
  }
  EXPECT_TRUE(checkpoint::list_checkpoints(scratch_ / "run").empty());
}

}  // namespace
}  // namespace halfpipe::runtime
