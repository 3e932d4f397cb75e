// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/lone_tensor_group.h"

#include <cstddef>

namespace halfpipe::runtime {

void LoneTensorGroup::all_gather(std::byte* whole,
                                 const std::byte* part,
                                 std::size_t part_bytes,
                                 device::Stream& stream) {
  std::byte* const own = whole + static_cast<std::size_t>(shard_.rank) * part_bytes;
  if (part != own) backend_.copy_async(own, part, part_bytes, stream);
  copy_to_others(whole, part, part_bytes, stream);
}

void LoneTensorGroup::exchange(std::byte* received,
                               const std::byte* sent,
                               std::size_t part_bytes,
                               device::Stream& stream) {
  copy_to_others(received, sent + static_cast<std::size_t>(shard_.rank) * part_bytes, part_bytes,
                 stream);
}

void LoneTensorGroup::copy_to_others(std::byte* whole,
                                     const std::byte* part,
                                     std::size_t part_bytes,
                                     device::Stream& stream) {
  for (int rank = 0; rank < shard_.ranks; ++rank) {
    if (rank == shard_.rank) continue;
    backend_.copy_async(whole + static_cast<std::size_t>(rank) * part_bytes, part, part_bytes,
                        stream);
  }
}

}  // namespace halfpipe::runtime
