// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/post_validation.h"

namespace halfpipe::runtime {
namespace {

/// FLOPs in the time of one byte of memory, roughly: what a GPU of the H100's kind reaches in
/// training (450 TFLOP/s, 3 TB/s), and a few cores (230 GFLOP/s, 20 GB/s).
double flops_per_byte(const config::DeviceConfig& device) {
  return device.kind == "cuda" ? 150.0 : 12.0;
}

/// Of a step's passes, 6 FLOPs for each parameter and token.
double share_of_showing(const config::RunConfig& config) {
  constexpr double kBytes = 18.0;
  constexpr double kFlopsOfAToken = 6.0;
  const double tokens = static_cast<double>(config.num_micro_batches()) *
                        config.train.micro_batch_size * static_cast<double>(config.model.seq_len);
  return kBytes * flops_per_byte(config.device) / (kFlopsOfAToken * tokens);
}

}  // namespace

bool gains_by_post_validation(const config::RunConfig& config,
                              const schedule::Placement& placement,
                              const schedule::Timeline& timeline) {
  const bool takes_memory =
      config.model.dtype != DType::kBFloat16 || config.optimizer.zero_stage > 0;
  const bool waits_anyway = config.model.tie_embeddings &&
                            placement.rank_of(0) != placement.rank_of(placement.num_stages() - 1);
  if (is_modelled(config.device) || takes_memory || waits_anyway) return false;
  const double saved = timeline.makespan - timeline.span;
  return saved > share_of_showing(config) * timeline.span;
}

}  // namespace halfpipe::runtime
