// SPDX-License-Identifier: Apache-2.0
// device.tune: the ranks measure which ways of computing are the quickest, and all take the same.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/checkpoint/tuned_record.h"
#include "engine/runtime/pipeline_trainer.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

struct Tuning {
  checkpoint::TunedRecord record;     // in use on every rank
  std::string report;                 // for the log
  std::vector<std::string> warnings;  // for the log
};

/// Takes the choices that are known already, of a checkpoint for example, measures what they do not
/// cover, and has all ranks use the same: where several measured a kind, the lowest of them
/// decides. Collective, before the first step; gradients and losses hold anything afterwards.
/// Throws AgreedError when ranks have different devices, or the library refuses a known choice.
[[nodiscard]] Tuning tune(PipelineTrainer& trainer,
                          transport::Transport& transport,
                          const std::optional<checkpoint::TunedRecord>& known);

}  // namespace halfpipe::runtime
