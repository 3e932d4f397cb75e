// SPDX-License-Identifier: Apache-2.0
// The hardware profile of a job with modelled devices, as devices and links.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/config/run_config.h"
#include "engine/runtime/planning/job.h"
#include "kernels/modelled/device_model.h"
#include "parallel/mesh.h"
#include "parallel/schedule/cost_model.h"
#include "parallel/transport/modelled_transport.h"

namespace halfpipe::runtime {

/// For device.kind modelled, at train.precision.
[[nodiscard]] modelled::DeviceModel device_model_of(const config::RunConfig& config);

/// Floating-point operations per second of the data sheet, at train.precision: what an MFU counts
/// against. Nothing without a hardware profile.
[[nodiscard]] std::optional<double> peak_flops_per_second_of(const config::RunConfig& config);

/// Says which rank needs more memory than a modelled device has: "does not fit: rank 3 needs ...".
/// Empty when all fit, and for other devices, which say so themselves.
[[nodiscard]] std::string memory_shortage(const config::RunConfig& config,
                                          const std::vector<RankMemory>& planned);

/// From a pipeline rank to each of them. The ranks of the mesh fill one machine after another;
/// where the pipelines of a job lie differently on the machines, two pipeline ranks are as far
/// apart as they are in any of them.
[[nodiscard]] std::vector<transport::ModelledLink> links_from(
    const config::HardwareProfile& profile, const parallel::Mesh& mesh, int pipeline_rank);

/// From a replica of a pipeline rank to each of them. Those on its machine share its adapter there,
/// and those elsewhere the one between machines, as in a Fan; two are apart where any of their
/// tensor ranks are.
[[nodiscard]] std::vector<transport::ModelledLink> replica_links_from(
    const config::HardwareProfile& profile,
    const parallel::Mesh& mesh,
    int pipeline_rank,
    int replica);

/// Puts the links between pipeline ranks into a cost model: one message at a time.
void add_links(const config::HardwareProfile& profile,
               const parallel::Mesh& mesh,
               schedule::CostModel& costs);

}  // namespace halfpipe::runtime
