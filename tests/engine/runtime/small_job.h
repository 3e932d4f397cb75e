// SPDX-License-Identifier: Apache-2.0
// Small training jobs for tests: a configuration, synthetic batches, and ranks run as threads of
// the test.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/config/run_config.h"
#include "engine/runtime/pipeline_trainer.h"
#include "engine/runtime/planning/job.h"
#include "engine/runtime/ranks/rank_groups.h"

namespace halfpipe::runtime {

/// 5 blocks, hidden 24, 3 heads, 12 tokens, vocabulary 29, micro-batches of 2, 8 of them.
[[nodiscard]] config::RunConfig small_config(const std::string& schedule, int pipeline);

/// The batch of a step: the same numbers for every layout.
[[nodiscard]] HostBatch small_batch(const config::RunConfig& config, std::int64_t step);

enum class BatchOrder : std::uint8_t { kNewBatches, kSameBatch };

/// What a rank does, with the parameters undefined at first.
using RankBody = std::function<void(PipelineTrainer& trainer, const RankGroups& groups)>;
/// Runs it on as many local ranks as the mesh has, of `threads` threads each. What one throws is
/// thrown.
void on_every_rank(const Job& job, int threads, const RankBody& body);
/// The same with each rank's own copy of the job, that it may change.
void on_every_rank(const Job& job,
                   int threads,
                   const std::function<void(Job&, PipelineTrainer&, const RankGroups&)>& body);
/// One step on this replica's part of small_batch.
StepResult small_step(PipelineTrainer& trainer,
                      const config::RunConfig& config,
                      std::int64_t step,
                      BatchOrder order = BatchOrder::kNewBatches);
/// Results of the steps that ended meanwhile.
std::vector<StepResult> small_step_on(PipelineTrainer& trainer,
                                      const config::RunConfig& config,
                                      std::int64_t step,
                                      PipelineTrainer::Ending ending,
                                      BatchOrder order = BatchOrder::kNewBatches);

/// What a run shows to the outside.
struct RunRecord {
  std::vector<double> losses;       // per step
  std::vector<double> norms;        // per step
  std::string parameter_hash;       // after the last step
  std::vector<RankMemory> planned;  // per rank
  std::vector<RankMemory> measured;

  /// Bit for bit, whatever the memory.
  [[nodiscard]] bool same_training(const RunRecord& other) const {
    return losses == other.losses && norms == other.norms && parameter_hash == other.parameter_hash;
  }
};

/// Trains `steps` steps on as many local ranks as the mesh has, of `threads` threads each. Memory
/// is of the ranks of the first replica that are the first of those that share layers.
[[nodiscard]] RunRecord run_locally(const config::RunConfig& config,
                                    int steps,
                                    int threads = 1,
                                    BatchOrder order = BatchOrder::kNewBatches);

}  // namespace halfpipe::runtime
