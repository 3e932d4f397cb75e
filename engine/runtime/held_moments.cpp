// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/held_moments.h"

namespace halfpipe::runtime {

std::vector<HeldMoments> held_moments(PipelineTrainer& trainer, std::size_t index) {
  const optimizer::AdamW& adamw = trainer.optimizer();
  return {{0, trainer.parameters().all()[index].count(), adamw.first_moment(index),
           adamw.second_moment(index)}};
}

std::int64_t num_held_moments(const model::Parameter& parameter) {
  return parameter.count();
}

}  // namespace halfpipe::runtime
