// SPDX-License-Identifier: Apache-2.0
// The learning rate of each optimizer step: warmup, then one of four shapes. A pure function of the
// step, so that a resumed run continues exactly.
#pragma once

#include "engine/optimizer/optimizer_config.h"

#include <cstdint>

namespace halfpipe::optimizer {

/// Learning rate of `step` (0-based) in a run of `total_steps`. With peak = learning_rate, low =
/// min_learning_rate, w = warmup_steps and n = total_steps:
///
///   step < w               peak (step + 1) / w, which reaches the peak at step w - 1
///   constant               peak
///   cosine                 low + (peak - low) (1 + cos(pi x)) / 2,  x = (step - w) / (n - 1 - w)
///   linear                 peak + (low - peak) x
///   warmup-stable-decay    peak up to step n - d - 1, then peak + (low - peak) (step - (n - d) +
///   1) / d,
///                          with d = round(decay_fraction n), at most n - w
///
/// The three that decay give exactly `low` at step n - 1 (unless that step is still in the warmup)
/// and at any step after it; cosine and linear give `peak` at step w where step w is not the last.
[[nodiscard]] double learning_rate(const OptimizerConfig& config,
                                   std::int64_t step,
                                   std::int64_t total_steps);

}  // namespace halfpipe::optimizer
