// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/modelled_tensor_group.h"

#include "engine/runtime/ranks/mesh_of.h"
#include "kernels/core/error.h"
#include "kernels/modelled/modelled_stream.h"

namespace halfpipe::runtime {
namespace {

Fan fan_of(const config::RunConfig& config) {
  HALFPIPE_CHECK(is_modelled(config.device) && config.parallel.tensor > 1,
                 "no modelled ranks share a layer");
  return fan_along(parallel::Axis::kTensor, mesh_of(config.parallel), *config.device.profile);
}

}  // namespace

ModelledTensorGroup::ModelledTensorGroup(const config::RunConfig& config) : fan_(fan_of(config)) {}

void ModelledTensorGroup::all_gather(std::byte* /*whole*/,
                                     const std::byte* /*part*/,
                                     std::size_t part_bytes,
                                     device::Stream& stream) {
  static_cast<modelled::ModelledStream&>(stream).enqueue(
      fan_.seconds(static_cast<double>(part_bytes)));
}

void ModelledTensorGroup::exchange(std::byte* /*received*/,
                                   const std::byte* /*sent*/,
                                   std::size_t part_bytes,
                                   device::Stream& stream) {
  static_cast<modelled::ModelledStream&>(stream).enqueue(
      fan_.seconds(static_cast<double>(part_bytes)));
}

}  // namespace halfpipe::runtime
