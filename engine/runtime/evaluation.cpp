// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/evaluation.h"

namespace halfpipe::runtime {

EvaluationResult evaluate_windows(PipelineTrainer& trainer,
                                  const Job& job,
                                  const data::TokenSource& source,
                                  const data::EvaluationWindows& windows,
                                  std::int64_t step) {
  const std::int64_t sequences = job.config.train.global_batch_size;
  const auto tokens = static_cast<std::size_t>(sequences * job.config.model.seq_len);
  HostBatch batch;
  if (trainer.has_first_stage()) batch.inputs.resize(tokens);
  if (trainer.has_last_stage()) batch.targets.resize(tokens);
  EvaluationResult result{0.0, 0};
  for (std::int64_t first = 0; first < windows.num_windows(); first += sequences) {
    windows.fill({first, sequences}, source, batch.inputs, batch.targets);
    // Only the very last window can be partial, so the targets that count are a prefix of the
    // batch.
    std::int64_t num_targets = 0;
    for (std::int64_t i = first; i < first + sequences; ++i) num_targets += windows.num_targets(i);
    result.loss += trainer.evaluate(batch, num_targets, step);
    result.num_tokens += num_targets;
  }
  result.loss /= static_cast<double>(result.num_tokens);
  return result;
}

}  // namespace halfpipe::runtime
