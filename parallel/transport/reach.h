// SPDX-License-Identifier: Apache-2.0
// Between which ranks of a transport messages go: what each connects to.
#pragma once

#include <cstdint>

namespace halfpipe::transport {

enum class Reach : std::uint8_t {
  kNeighbours,  // in the ring of ranks: the ranks of a pipeline
  kEveryPair,   // ranks that exchange all with all
};

}  // namespace halfpipe::transport
