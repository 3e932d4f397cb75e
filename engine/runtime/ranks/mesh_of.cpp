// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/ranks/mesh_of.h"

#include <algorithm>
#include <string>

#include "kernels/core/error.h"

namespace halfpipe::runtime {
namespace {

/// Of the three axes in `parallel.order`, which the configuration has checked.
parallel::AxisOrder order_of(const std::string& text) {
  constexpr std::array<const char*, parallel::kNumAxes> kNames{"data", "pipeline", "tensor"};
  std::array<std::size_t, parallel::kNumAxes> places{};
  for (std::size_t axis = 0; axis < kNames.size(); ++axis) {
    places[axis] = text.find(kNames[axis]);
    HALFPIPE_CHECK(places[axis] != std::string::npos, "an axis of the mesh is missing");
  }
  parallel::AxisOrder order{parallel::Axis::kData, parallel::Axis::kPipeline,
                            parallel::Axis::kTensor};
  std::ranges::sort(order, {},
                    [&](parallel::Axis axis) { return places[static_cast<std::size_t>(axis)]; });
  return order;
}

}  // namespace

parallel::Mesh mesh_of(const config::ParallelConfig& config) {
  return {.extents = {.data = config.data, .pipeline = config.pipeline, .tensor = config.tensor},
          .order = order_of(config.order)};
}

model::TensorShard tensor_shard_of(const config::ParallelConfig& config, int tensor_rank) {
  return {.ranks = config.tensor, .rank = tensor_rank, .gathers_again = config.gather_again};
}

}  // namespace halfpipe::runtime
