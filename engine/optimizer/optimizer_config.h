// SPDX-License-Identifier: Apache-2.0
// How weights are updated: section `optimizer` of a configuration.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/core/dtype.h"

namespace halfpipe::optimizer {

enum class LearningRateSchedule : std::uint8_t {
  kConstant,
  kCosine,             // to min_learning_rate at the last step, half a period of a cosine
  kLinear,             // to min_learning_rate at the last step, a straight line
  kWarmupStableDecay,  // constant, then linear to min over the last decay_fraction of the steps
};

struct OptimizerConfig {
  double learning_rate = 6.0e-4;      // peak, after warmup
  double min_learning_rate = 6.0e-5;  // at the last step
  LearningRateSchedule schedule = LearningRateSchedule::kCosine;
  std::int64_t warmup_steps = 0;  // linear from learning_rate / warmup_steps
  double decay_fraction = 0.2;    // of train.steps, for kWarmupStableDecay
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1.0e-8;
  double weight_decay = 0.1;             // on matrices and embeddings only, not on biases and norms
  double clip_grad_norm = 1.0;           // global L2 norm; 0 = no clipping
  DType moments = DType::kFloat32;       // or bfloat16, rounded stochastically
  int zero_stage = 0;                    // 1: each replica steps a part of the parameters
  std::string not_finite = "stop";       // stop | skip: what a norm or loss of no number does
  std::string post_validation = "auto";  // auto | on | off: RunConfig::steps_early

  friend bool operator==(const OptimizerConfig&, const OptimizerConfig&) = default;
};

}  // namespace halfpipe::optimizer
