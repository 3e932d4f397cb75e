// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/hardware.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "kernels/core/error.h"

namespace halfpipe::runtime {

namespace {

const config::HardwareProfile& profile_of(const config::RunConfig& config) {
  HALFPIPE_CHECK(config.device.profile, "the hardware profile was not read");
  return *config.device.profile;
}

const config::Rate& flops_of(const config::RunConfig& config) {
  const config::HardwareProfile& profile = profile_of(config);
  return config.model.dtype == DType::kBFloat16 ? profile.bf16 : profile.float32;
}

/// In every pipeline of the job.
bool share_machines(const config::HardwareProfile& profile,
                    const parallel::Mesh& mesh,
                    int one,
                    int other) {
  const auto machine_of = [&](int data, int pipeline, int tensor) {
    return mesh.rank_at({.data = data, .pipeline = pipeline, .tensor = tensor}) /
           profile.ranks_per_machine;
  };
  for (int data = 0; data < mesh.extents.data; ++data) {
    for (int tensor = 0; tensor < mesh.extents.tensor; ++tensor) {
      if (machine_of(data, one, tensor) != machine_of(data, other, tensor)) return false;
    }
  }
  return true;
}

}  // namespace

modelled::DeviceModel device_model_of(const config::RunConfig& config) {
  const config::HardwareProfile& profile = profile_of(config);
  return {.flops_per_second = flops_of(config).reached(),
          .bytes_per_second = profile.memory.reached(),
          .attention_share = profile.attention_share,
          .op_seconds = profile.op_seconds,
          .product_seconds = profile.product_seconds,
          .memory_bytes = profile.memory_bytes};
}

std::optional<double> peak_flops_per_second_of(const config::RunConfig& config) {
  if (!config.device.profile) return std::nullopt;
  return flops_of(config).peak;
}

std::string memory_shortage(const config::RunConfig& config,
                            const std::vector<RankMemory>& planned) {
  if (!is_modelled(config.device)) return "";
  constexpr double kMebibyte = 1 << 20;
  const auto on_device = [](const RankMemory& rank) { return rank.total() - rank.checkpoint_copy; };
  const auto fullest = std::ranges::max_element(planned, {}, on_device);
  const std::int64_t has = profile_of(config).memory_bytes;
  if (on_device(*fullest) <= has) return "";
  return fmt::format(
      "does not fit: rank {} needs {:.2f} MiB of {:.2f}", std::distance(planned.begin(), fullest),
      static_cast<double>(on_device(*fullest)) / kMebibyte, static_cast<double>(has) / kMebibyte);
}

std::vector<transport::ModelledLink> links_from(const config::HardwareProfile& profile,
                                                const parallel::Mesh& mesh,
                                                int pipeline_rank) {
  std::vector<transport::ModelledLink> links;
  for (int other = 0; other < mesh.extents.pipeline; ++other) {
    const bool near = share_machines(profile, mesh, pipeline_rank, other);
    const config::HardwareLink& link = near ? profile.within_machine : profile.between_machines;
    links.push_back(
        {.latency_seconds = link.latency_seconds, .bytes_per_second = link.bytes.reached()});
  }
  return links;
}

std::vector<transport::ModelledLink> replica_links_from(const config::HardwareProfile& profile,
                                                        const parallel::Mesh& mesh,
                                                        int pipeline_rank,
                                                        int replica) {
  constexpr int kWithinMachine = 0;
  constexpr int kBetweenMachines = 1;
  std::vector<transport::ModelledLink> links;
  for (int other = 0; other < mesh.extents.data; ++other) {
    bool near = true;
    for (int tensor = 0; tensor < mesh.extents.tensor; ++tensor) {
      const auto machine_of = [&](int data) {
        return mesh.rank_at({.data = data, .pipeline = pipeline_rank, .tensor = tensor}) /
               profile.ranks_per_machine;
      };
      near = near && machine_of(replica) == machine_of(other);
    }
    const config::HardwareLink& link = near ? profile.within_machine : profile.between_machines;
    links.push_back({.latency_seconds = link.latency_seconds,
                     .bytes_per_second = link.bytes.reached(),
                     .adapter = near ? kWithinMachine : kBetweenMachines});
  }
  return links;
}

void add_links(const config::HardwareProfile& profile,
               const parallel::Mesh& mesh,
               schedule::CostModel& costs) {
  costs.links.clear();
  for (int rank = 0; rank < mesh.extents.pipeline; ++rank) {
    std::vector<schedule::LinkCost>& row = costs.links.emplace_back();
    for (const transport::ModelledLink& link : links_from(profile, mesh, rank)) {
      row.push_back({link.latency_seconds, link.bytes_per_second});
    }
  }
  costs.one_message_at_a_time = true;
}

}  // namespace halfpipe::runtime
