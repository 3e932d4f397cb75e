// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/whole_parameter.h"

#include <cstring>

namespace halfpipe::runtime {

std::vector<float> gather_whole(const model::Parameter& parameter,
                                const model::TensorShard& shard,
                                std::span<const float> mine,
                                transport::Transport& ranks) {
  const auto parts = ranks.all_gather(std::as_bytes(mine));
  if (ranks.rank() != 0) return {};
  std::vector<float> whole(static_cast<std::size_t>(parameter.slice.whole_count()));
  TensorSlice slice = parameter.slice;
  const std::int64_t extent_of_rank = slice.end - slice.begin;
  for (int rank = 0; rank < shard.ranks; ++rank) {
    slice.begin = rank * extent_of_rank;
    slice.end = slice.begin + extent_of_rank;
    const std::byte* const part = parts[static_cast<std::size_t>(rank)].data();
    for_each_run(slice, [&](const SliceRun& run) {
      std::memcpy(whole.data() + run.in_whole,
                  part + static_cast<std::size_t>(run.in_slice) * sizeof(float),
                  static_cast<std::size_t>(run.count) * sizeof(float));
    });
  }
  return whole;
}

}  // namespace halfpipe::runtime
