// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/ranks/fan.h"

#include <algorithm>
#include <map>

namespace halfpipe::runtime {

double Fan::seconds(double part_bytes) const {
  return (far > 0 ? between_machines : within_machine).latency_seconds +
         std::max(near * part_bytes / within_machine.bytes.reached(),
                  far * part_bytes / between_machines.bytes.reached());
}

Fan fan_along(parallel::Axis axis,
              const parallel::Mesh& mesh,
              const config::HardwareProfile& profile) {
  const int extent = mesh.extents[axis];
  int fewest = extent;  // on a machine
  for (int rank = 0; rank < mesh.num_ranks(); ++rank) {
    if (mesh.coordinates_of(rank)[axis] != 0) continue;  // each group once
    std::map<int, int> counts;                           // by machine
    for (const int member : mesh.group_of(rank, axis)) {
      ++counts[member / profile.ranks_per_machine];
    }
    for (const auto& [machine, count] : counts) fewest = std::min(fewest, count);
  }
  return {profile.within_machine, profile.between_machines, fewest - 1, extent - fewest};
}

}  // namespace halfpipe::runtime
