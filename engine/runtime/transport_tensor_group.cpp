// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/transport_tensor_group.h"

#include <cstddef>

namespace halfpipe::runtime {

TransportTensorGroup::TransportTensorGroup(transport::Transport& ranks,
                                           device::Backend& backend,
                                           bool synchronizes)
    : ranks_(ranks), backend_(backend), synchronizes_(synchronizes) {
  requests_.reserve(2 * static_cast<std::size_t>(ranks.world_size()));
}

void TransportTensorGroup::all_gather(std::byte* whole,
                                      const std::byte* part,
                                      std::size_t part_bytes,
                                      device::Stream& stream) {
  const int me = ranks_.rank();
  const auto place = [&](int rank) { return whole + static_cast<std::size_t>(rank) * part_bytes; };
  for (int other = 0; other < ranks_.world_size(); ++other) {
    if (other == me) continue;
    requests_.push_back(ranks_.post_recv({place(other), part_bytes}, other, stream));
  }
  for (int other = 0; other < ranks_.world_size(); ++other) {
    if (other != me) requests_.push_back(ranks_.send({part, part_bytes}, other, stream));
  }
  if (part != place(me)) backend_.copy_async(place(me), part, part_bytes, stream);
  wait_for_all(stream);
}

void TransportTensorGroup::exchange(std::byte* received,
                                    const std::byte* sent,
                                    std::size_t part_bytes,
                                    device::Stream& stream) {
  const int me = ranks_.rank();
  const auto offset = [&](int rank) { return static_cast<std::size_t>(rank) * part_bytes; };
  for (int other = 0; other < ranks_.world_size(); ++other) {
    if (other == me) continue;
    requests_.push_back(ranks_.post_recv({received + offset(other), part_bytes}, other, stream));
  }
  for (int other = 0; other < ranks_.world_size(); ++other) {
    if (other == me) continue;
    requests_.push_back(ranks_.send({sent + offset(other), part_bytes}, other, stream));
  }
  wait_for_all(stream);
}

void TransportTensorGroup::wait_for_all(device::Stream& stream) {
  for (const transport::Request request : requests_) ranks_.wait(request, stream);
  requests_.clear();
  if (synchronizes_) ranks_.synchronize(stream);
}

}  // namespace halfpipe::runtime
