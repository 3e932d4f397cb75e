// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step/bucket_gather.h"

#include <cstddef>
#include <span>

namespace halfpipe::runtime {

void start_gather(const GradientBucket& bucket,
                  float* floats,
                  transport::Transport& replicas,
                  device::Stream& stream,
                  std::vector<transport::Request>& requests) {
  const int D = replicas.world_size();
  const int me = replicas.rank();
  const auto bytes_of = [&](const GradientRange& part) {
    return std::span(reinterpret_cast<std::byte*>(floats + (part.begin - bucket.whole().begin)),
                     part.count() * sizeof(float));
  };
  for (int other = 0; other < D; ++other) {
    const GradientRange theirs = bucket.part(other);
    if (other == me || theirs.count() == 0) continue;
    requests.push_back(replicas.post_recv(bytes_of(theirs), other, stream));
  }
  const GradientRange mine = bucket.part(me);
  for (int other = 0; other < D; ++other) {
    if (other == me || mine.count() == 0) continue;
    requests.push_back(replicas.send(bytes_of(mine), other, stream));
  }
}

}  // namespace halfpipe::runtime
