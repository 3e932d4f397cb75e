// SPDX-License-Identifier: Apache-2.0
// Ranks of a mesh that differ along one axis and have something for each other, on modelled links.
#pragma once

#include "engine/config/hardware_profile.h"
#include "parallel/mesh.h"

namespace halfpipe::runtime {

/// A part of every rank gets to each other one, all at once. A part for another machine shares the
/// rank's link between machines with the others, and one within its machine likewise; both links
/// work at once. The whole group waits for the rank that has fewest of the others on its machine.
struct Fan {
  config::HardwareLink within_machine;
  config::HardwareLink between_machines;
  int near;  // ranks on a rank's machine, beside itself
  int far;

  /// Parts of b bytes each: latency + max(near b / within_machine, far b / between_machines).
  [[nodiscard]] double seconds(double part_bytes) const;
};

/// The slowest of the groups along an axis. The ranks of the mesh fill one
/// machine after another.
[[nodiscard]] Fan fan_along(parallel::Axis axis,
                            const parallel::Mesh& mesh,
                            const config::HardwareProfile& profile);

}  // namespace halfpipe::runtime
