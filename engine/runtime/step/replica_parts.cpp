// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step/replica_parts.h"

#include <algorithm>

#include "engine/optimizer/adamw.h"
#include "engine/runtime/step/early_step.h"

namespace halfpipe::runtime {

std::size_t ReplicaParts::moment_bytes(DType dtype) const {
  std::size_t most = 0;
  for (const auto& elements : stepped) {
    most = std::max(most, optimizer::moment_bytes(elements, dtype));
  }
  return most;
}

std::size_t ReplicaParts::early_step_bytes(const config::RunConfig& config) const {
  std::size_t most = 0;
  for (const auto& elements : stepped) {
    most = std::max(most, runtime::early_step_bytes(config, elements));
  }
  return most;
}

ReplicaParts replica_parts(const config::RunConfig& config,
                           const std::vector<model::Parameter>& parameters,
                           const std::vector<int>& gradient_groups) {
  const int num_replicas = config.parallel.data;
  ReplicaParts parts;
  if (num_replicas > 1) {
    parts.buckets = gradient_buckets(parameters, gradient_groups, num_replicas);
  }
  if (config.optimizer.zero_stage == 0) {
    parts.stepped = {optimizer::all_elements(parameters)};
    return parts;
  }
  for (int replica = 0; replica < num_replicas; ++replica) {
    parts.stepped.push_back(elements_of_replica(parameters, parts.buckets, replica));
  }
  return parts;
}

}  // namespace halfpipe::runtime
