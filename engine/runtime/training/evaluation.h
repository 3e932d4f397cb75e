// SPDX-License-Identifier: Apache-2.0
// Mean loss over held-out windows, through the pipeline.
#pragma once

#include <cstdint>

#include "engine/data/sampler.h"
#include "engine/data/token_source.h"
#include "engine/runtime/pipeline_trainer.h"

namespace halfpipe::runtime {

struct EvaluationResult {
  double loss;              // nats per token
  std::int64_t num_tokens;  // targets predicted
};

/// Sequences of a global batch that a replica works on: an equal part, in order.
[[nodiscard]] data::SequenceRange sequences_of(const config::RunConfig& config, int replica);

/// Collective; the same on every rank. `step` is only for messages about ranks that stand still.
[[nodiscard]] EvaluationResult evaluate_windows(PipelineTrainer& trainer,
                                                const Job& job,
                                                const data::TokenSource& source,
                                                const data::EvaluationWindows& windows,
                                                std::int64_t step);

}  // namespace halfpipe::runtime
