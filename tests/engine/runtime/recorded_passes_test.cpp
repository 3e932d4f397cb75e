// SPDX-License-Identifier: Apache-2.0
// Recorded passes on an emulated GPU: the bits and the memory of passes that are not, and those of
// another plan once the trainer has taken it.
#include "engine/runtime/recorded_passes.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "engine/runtime/pipeline_trainer.h"
#include "kernels/cuda/cuda_backend.h"
#include "parallel/transport/local_group.h"
#include "parallel/transport/staged_transport.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

struct Result {
  std::vector<double> losses;
  std::string parameter_hash;
  std::vector<std::size_t> num_recordings;  // after each plan was taken
};

/// Two steps by 1f1b, then two by gpipe: other orders, and more places for saved tensors.
Result train(bool records) {
  config::RunConfig config = small_config("1f1b", 1);
  config.model.num_layers = 1;
  config.train.global_batch_size = 6;  // 3 micro-batches
  Job job = make_job(config);
  transport::LocalGroup group(1);
  const auto carrier = group.make_transport(0);
  const auto backend = cuda::make_cuda_backend(0);
  const auto transport = transport::make_staging_if_needed(*carrier, *backend);
  PipelineTrainer trainer(job, *backend, *transport);
  trainer.initialise_parameters(config.train.seed, 1);
  Result result;
  if (records) {
    trainer.run_every_pass();
    trainer.record_passes();
  }
  for (int step = 0; step < 4; ++step) {
    if (step == 2) {
      config::RunConfig other = config;
      other.schedule.name = "gpipe";
      job.training = make_job(other).training;
      trainer.take_new_plan();
    }
    if (step % 2 == 0) result.num_recordings.push_back(trainer.num_recordings());
    result.losses.push_back(trainer.step(step, 1e-2, small_batch(config, step), false).loss);
    EXPECT_EQ(trainer.measured_memory(), plan_memory(job, *backend)[0]) << "step " << step;
  }
  result.parameter_hash = trainer.parameter_hash();
  return result;
}

TEST(RecordedPasses, HaveTheSameBitsAndMemoryAlsoAfterAPlanWasChanged) {
  const Result usual = train(/*records=*/false);
  const Result recorded = train(/*records=*/true);
  EXPECT_EQ(recorded.losses, usual.losses);
  EXPECT_EQ(recorded.parameter_hash, usual.parameter_hash);
  EXPECT_EQ(usual.num_recordings, (std::vector<std::size_t>{0, 0}));
  // Three passes of three micro-batches: the stage reads tokens, so none share a recording.
  EXPECT_EQ(recorded.num_recordings, (std::vector<std::size_t>{9, 9}));
}

}  // namespace
}  // namespace halfpipe::runtime
