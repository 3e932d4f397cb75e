// SPDX-License-Identifier: Apache-2.0
// What a step takes beside its passes, against sums by hand and against the modelled device.
#include "engine/runtime/planning/outside_passes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "engine/optimizer/adamw.h"
#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/planning/rank_model.h"
#include "engine/runtime/ranks/rank_groups.h"
#include "engine/runtime/step/gradient_squares.h"
#include "kernels/modelled/modelled_backend.h"
#include "kernels/modelled/modelled_stream.h"
#include "tests/engine/runtime/modelled_job.h"

namespace halfpipe::runtime {
namespace {

/// Links of 1 ms + 1e-6 s per byte within machines of two ranks, 2 ms + 1e-5 s between them;
/// memory takes 1e-7 s per byte.
config::RunConfig job_of(int data, int pipeline) {
  config::HardwareProfile profile = only_products();
  profile.memory = {1e7, 1.0};
  config::RunConfig config = modelled_config("1f1b", pipeline, profile);
  config.parallel.data = data;
  return config;
}

/// Bytes of the largest part of each bucket.
std::vector<double> parts_of(const Job& job, int pipeline_rank) {
  std::vector<double> parts;
  for (const GradientBucket& bucket :
       replica_parts(job.config, RankModel(job, pipeline_rank)).buckets) {
    std::size_t largest = 0;
    for (int replica = 0; replica < job.config.parallel.data; ++replica) {
      largest = std::max(largest, bucket.part(replica).count());
    }
    parts.push_back(4.0 * static_cast<double>(largest));
  }
  return parts;
}

TEST(OutsidePasses, OneReplicaExchangesNothing) {
  const Job job = make_job(job_of(1, 2));
  EXPECT_EQ(outside_passes(job).exchange, 0.0);
  EXPECT_GT(outside_passes(job).update, 0.0);
}

// Two ranks a machine, and one pipeline rank: replicas 0 and 1 share a machine, 2 and 3 another.
TEST(OutsidePasses, ReplicasOnMachinesShareTheLinksBetweenThem) {
  const Job job = make_job(job_of(4, 1));
  double expected = 0.0;
  for (const double part : parts_of(job, 0)) {
    const double one_way = 2e-3 + 2.0 * part * 1e-5;   // two replicas on the other machine
    const double additions = 3.0 * 3.0 * part * 1e-7;  // two reads and a write each
    expected += 2.0 * one_way + additions;
  }
  EXPECT_DOUBLE_EQ(outside_passes(job).exchange, expected);
}

TEST(OutsidePasses, ReplicasOnOneMachineNeedNoOther) {
  const Job job = make_job(job_of(2, 1));
  double expected = 0.0;
  for (const double part : parts_of(job, 0)) {
    expected += 2.0 * (1e-3 + part * 1e-6) + 3.0 * part * 1e-7;
  }
  EXPECT_DOUBLE_EQ(outside_passes(job).exchange, expected);
}

// With two pipeline ranks every machine holds one pipeline: all other replicas are elsewhere.
TEST(OutsidePasses, ReplicasOfALongerPipelineAreFartherApart) {
  const Job job = make_job(job_of(2, 2));
  double most = 0.0;
  for (const int rank : {0, 1}) {
    double expected = 0.0;
    for (const double part : parts_of(job, rank)) {
      expected += 2.0 * (2e-3 + part * 1e-5) + 3.0 * part * 1e-7;
    }
    EXPECT_DOUBLE_EQ(outside_passes_of_rank(job, rank).exchange, expected);
    most = std::max(most, expected);
  }
  EXPECT_DOUBLE_EQ(outside_passes(job).exchange, most);
}

TEST(OutsidePasses, TheTiedGradientCrossesTheLinkOfTheEnds) {
  const Job job = make_job(job_of(1, 4));
  const double bytes = 29.0 * 24.0 * 4.0;
  EXPECT_DOUBLE_EQ(outside_passes(job).tied_gradient, 2e-3 + bytes * 1e-5);
  EXPECT_EQ(outside_passes_of_rank(job, 1).tied_gradient, 0.0);
  config::RunConfig untied = job_of(1, 4);
  untied.model.tie_embeddings = false;
  EXPECT_EQ(outside_passes(make_job(untied)).tied_gradient, 0.0);
}

TEST(OutsidePasses, TheUpdateTakesWhatItsOperationsTakeOnTheDevice) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    config::RunConfig config = job_of(1, 2);
    config.device.profile->memory = {1e9, 1.0};
    config.device.profile->op_seconds = 1e-6;
    config.model.dtype = dtype;
    config.optimizer.moments = dtype;
    const Job job = make_job(config);
    const auto backend = modelled::make_work_counter(device_model_of(config));
    RankModel model(job, 1);
    model.allocate(*backend);
    optimizer::AdamW adamw(config.optimizer, config.train.seed, model.parameters(), *backend);
    modelled::ModelledStream stream;
    device::Arena workspace(nullptr, 0);
    const ReplicaParts parts = replica_parts(config, model);
    GradientSquares squares(model.parameters(), parts.stepped, *backend, nullptr);
    device::Buffer& gradients = model.parameters().gradients();
    backend->fill_async(gradients.bytes_pointer(), std::byte{0}, gradients.bytes(), stream);
    model::Parameter& table = *model.parameters().find(model::kTokenEmbeddingName);
    backend->ops().accumulate({.dst = table.gradient, .src = nullptr, .count = table.count()},
                              stream);
    squares.start(workspace, stream);
    adamw.step(1, 1e-3, 1.0, stream);
    const double rounding = 1e-12;  // sums in another order
    EXPECT_NEAR(update_seconds(config, model.parameters().all(), parts.stepped.front()),
                stream.work_seconds(), rounding);
  }
}

TEST(Hardware, APipelineIsAsFarApartAsAnyReplicaOfIt) {
  config::RunConfig config = job_of(2, 3);  // ranks 0 1 | 2 3 | 4 5: of replica 1, 3 is alone
  const auto links = links_from(*config.device.profile, mesh_of(config.parallel), 1);
  EXPECT_EQ(links[0].latency_seconds, 2e-3);  // together in replica 0, apart in replica 1
  EXPECT_EQ(links[1].latency_seconds, 1e-3);
  EXPECT_EQ(links[2].latency_seconds, 2e-3);  // together in replica 1, apart in replica 0
}

}  // namespace
}  // namespace halfpipe::runtime
