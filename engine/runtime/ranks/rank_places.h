// SPDX-License-Identifier: Apache-2.0
// Which rank runs where: its host, its device and its coordinates in the mesh.
#pragma once

#include <string>
#include <vector>

#include "parallel/mesh.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

struct RankPlace {
  std::string host;
  std::string device;  // "cpu", "gpu 3"

  friend bool operator==(const RankPlace&, const RankPlace&) = default;
};

/// What this system calls itself.
[[nodiscard]] std::string host_name();

/// Of all ranks, in their order. Collective.
[[nodiscard]] std::vector<RankPlace> gather_places(const RankPlace& mine,
                                                   transport::Transport& transport);

/// A line for each of a few ranks, or for each host of many. Empty for one pipeline on one host,
/// where a rank's number says it all.
[[nodiscard]] std::string place_lines(const parallel::Mesh& mesh,
                                      const std::vector<RankPlace>& places);

}  // namespace halfpipe::runtime
