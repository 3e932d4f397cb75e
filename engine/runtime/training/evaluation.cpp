// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/evaluation.h"

namespace halfpipe::runtime {

namespace {

std::int64_t num_targets(const data::EvaluationWindows& windows, data::SequenceRange range) {
  std::int64_t sum = 0;
  for (std::int64_t i = range.first; i < range.first + range.count; ++i) {
    sum += windows.num_targets(i);
  }
  return sum;
}

}  // namespace

data::SequenceRange sequences_of(const config::RunConfig& config, int replica) {
  const std::int64_t count = config.train.global_batch_size / config.parallel.data;
  return {replica * count, count};
}

EvaluationResult evaluate_windows(PipelineTrainer& trainer,
                                  const Job& job,
                                  const data::TokenSource& source,
                                  const data::EvaluationWindows& windows,
                                  std::int64_t step) {
  const std::int64_t sequences = job.config.train.global_batch_size;
  const data::SequenceRange own = sequences_of(job.config, trainer.replica());
  const auto tokens = static_cast<std::size_t>(own.count * job.config.model.seq_len);
  HostBatch batch;
  if (trainer.has_first_stage()) batch.inputs.resize(tokens);
  if (trainer.has_last_stage()) batch.targets.resize(tokens);
  EvaluationResult result{0.0, 0};
  for (std::int64_t first = 0; first < windows.num_windows(); first += sequences) {
    const data::SequenceRange mine{first + own.first, own.count};
    windows.fill(mine, source, batch.inputs, batch.targets);
    // Only the very last window can be partial, so the targets that count are a prefix of each
    // replica's batch.
    result.loss += trainer.evaluate(batch, num_targets(windows, mine), step);
    result.num_tokens += num_targets(windows, {first, sequences});
  }
  result.loss /= static_cast<double>(result.num_tokens);
  return result;
}

}  // namespace halfpipe::runtime
