// SPDX-License-Identifier: Apache-2.0
// The mesh of ranks that a configuration asks for.
#pragma once

#include "engine/config/run_config.h"
#include "engine/model/tensor_shard.h"
#include "parallel/mesh.h"

namespace halfpipe::runtime {

[[nodiscard]] parallel::Mesh mesh_of(const config::ParallelConfig& config);

/// What the tensor rank of this number has of each layer. Bytes and work are the same for all.
[[nodiscard]] model::TensorShard tensor_shard_of(const config::ParallelConfig& config,
                                                 int tensor_rank = 0);

}  // namespace halfpipe::runtime
