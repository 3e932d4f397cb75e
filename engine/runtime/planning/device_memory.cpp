// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/device_memory.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <span>

#include "engine/model/parameter.h"
#include "engine/model/stage.h"
#include "engine/runtime/planning/search_question.h"
#include "engine/runtime/ranks/agreement.h"
#include "engine/runtime/ranks/mesh_of.h"
#include "engine/runtime/ranks/rank_places.h"
#include "engine/runtime/step/gradient_squares.h"
#include "kernels/core/error.h"

namespace halfpipe::runtime {

namespace {

/// Of a stage that has all layers: no other takes more.
std::int64_t most_scratch(const config::RunConfig& config, device::Backend& backend) {
  model::ParameterSet parameters(tensor_shard_of(config.parallel));
  const model::StageLayers all{0, 0, config.model.num_layers, true, true};
  const model::Stage stage(config.model, model::all_parameters(config.model), all,
                           config.train.micro_batch_size, parameters);
  return static_cast<std::int64_t>(
      std::max(stage.workspace_bytes(backend, parameters, config.train.micro_batch_size),
               GradientSquares::bytes_for(parameters.all(), backend)));
}

std::vector<FoundMemory> gather(const FoundMemory& mine, transport::Transport& world) {
  std::vector<std::byte> message(sizeof mine.free_bytes + mine.place.size());
  std::memcpy(message.data(), &mine.free_bytes, sizeof mine.free_bytes);
  std::memcpy(message.data() + sizeof mine.free_bytes, mine.place.data(), mine.place.size());
  std::vector<FoundMemory> all;
  for (const std::vector<std::byte>& bytes : world.all_gather(message)) {
    FoundMemory& each = all.emplace_back();
    std::memcpy(&each.free_bytes, bytes.data(), sizeof each.free_bytes);
    each.place.assign(reinterpret_cast<const char*>(bytes.data()) + sizeof each.free_bytes,
                      bytes.size() - sizeof each.free_bytes);
  }
  return all;
}

}  // namespace

std::vector<std::int64_t> least_shares(const std::vector<FoundMemory>& found,
                                       const parallel::Mesh& mesh) {
  HALFPIPE_CHECK(static_cast<int>(found.size()) == mesh.num_ranks(), "a device for every rank");
  struct Device {
    std::int64_t free_bytes = std::numeric_limits<std::int64_t>::max();
    int num_ranks = 0;
  };
  std::map<std::string, Device> devices;
  for (const FoundMemory& each : found) {
    // Ranks look one after the other, and another program may have taken memory meanwhile.
    Device& device = devices[each.place];
    device.free_bytes = std::min(device.free_bytes, each.free_bytes);
    ++device.num_ranks;
  }
  std::vector<std::int64_t> shares(static_cast<std::size_t>(mesh.extents.pipeline),
                                   std::numeric_limits<std::int64_t>::max());
  for (std::size_t rank = 0; rank < found.size(); ++rank) {
    const Device& device = devices[found[rank].place];
    const int pipeline_rank = mesh.coordinates_of(static_cast<int>(rank)).pipeline;
    std::int64_t& least = shares[static_cast<std::size_t>(pipeline_rank)];
    least = std::min(least, device.free_bytes / device.num_ranks);
  }
  return shares;
}

void ask_devices_for_memory(config::RunConfig& config,
                            device::Backend& backend,
                            transport::Transport& world) {
  if (config.schedule.name != "auto" || !limit_counts_residents(config)) return;
  std::optional<FoundMemory> mine;
  std::int64_t scratch = 0;
  agree(world, [&] {
    const std::optional<device::OwnMemory> memory = backend.own_memory();
    if (!memory) return;
    mine = FoundMemory{host_name() + " " + memory->device, memory->free_bytes};
    scratch = most_scratch(config, backend);
  });
  if (!mine) return;  // nor has any other rank: all have the same kind of device
  config.device.free_bytes = least_shares(gather(*mine, world), mesh_of(config.parallel));
  for (std::int64_t& bytes : config.device.free_bytes) {
    bytes = std::max<std::int64_t>(0, bytes - scratch);
  }
}

}  // namespace halfpipe::runtime
