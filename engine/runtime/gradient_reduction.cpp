// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/gradient_reduction.h"

#include <algorithm>

#include "engine/runtime/activity.h"
#include "kernels/ops/ops.h"

namespace halfpipe::runtime {
namespace {

std::size_t largest_part(const std::vector<GradientRange>& buckets, int num_replicas) {
  std::size_t most = 0;
  for (const GradientRange& bucket : buckets) {
    most = std::max(most, part_of(bucket, 0, num_replicas).count());
  }
  return most;
}

}  // namespace

GradientReduction::GradientReduction(model::ParameterSet& parameters,
                                     device::Backend& backend,
                                     transport::Transport& replicas,
                                     std::size_t bucket_floats)
    : parameters_(parameters),
      backend_(backend),
      replicas_(replicas),
      buckets_(gradient_buckets(parameters.all(), bucket_floats)),
      part_floats_(largest_part(buckets_, replicas.world_size())),
      received_(backend,
                bytes_for(parameters.all(), replicas.world_size(), bucket_floats),
                replicas.message_memory()) {}

std::size_t GradientReduction::bytes_for(const std::vector<model::Parameter>& parameters,
                                         int num_replicas,
                                         std::size_t bucket_floats) {
  if (num_replicas == 1) return 0;
  return static_cast<std::size_t>(num_replicas) *
         largest_part(gradient_buckets(parameters, bucket_floats), num_replicas) * sizeof(float);
}

void GradientReduction::run(device::Stream& stream, std::int64_t step) {
  for (const GradientRange& bucket : buckets_) {
    publish_activity(replicas_, step, "gradients of the replicas");  // each is progress
    reduce_scatter(bucket, stream);
    all_gather(bucket, stream);
  }
}

std::span<std::byte> GradientReduction::bytes_of(const GradientRange& range) const {
  return {parameters_.gradients().bytes_pointer() + range.begin * sizeof(float),
          range.count() * sizeof(float)};
}

float* GradientReduction::received_from(int replica) const {
  return received_.as<float>() + static_cast<std::size_t>(replica) * part_floats_;
}

void GradientReduction::wait_for_all(device::Stream& stream) {
  for (const transport::Request request : requests_) replicas_.wait(request, stream);
  requests_.clear();
}

void GradientReduction::reduce_scatter(const GradientRange& bucket, device::Stream& stream) {
  const int D = replicas_.world_size();
  const int me = replicas_.rank();
  const GradientRange mine = part_of(bucket, me, D);
  for (int other = 0; other < D; ++other) {
    if (other == me || mine.count() == 0) continue;
    requests_.push_back(replicas_.post_recv(
        {reinterpret_cast<std::byte*>(received_from(other)), mine.count() * sizeof(float)}, other,
        stream));
  }
  for (int other = 0; other < D; ++other) {
    const GradientRange theirs = part_of(bucket, other, D);
    if (other == me || theirs.count() == 0) continue;
    requests_.push_back(replicas_.send(bytes_of(theirs), other, stream));
  }
  wait_for_all(stream);
  if (mine.count() == 0) return;

  // ((g0 + g1) + g2) + ...: the sum grows where the first replica's part lies.
  const auto part = [&](int replica) {
    return replica == me ? reinterpret_cast<float*>(bytes_of(mine).data()) : received_from(replica);
  };
  for (int replica = 1; replica < D; ++replica) {
    backend_.ops().accumulate(
        {.dst = part(0), .src = part(replica), .count = static_cast<std::int64_t>(mine.count())},
        stream);
  }
  if (me != 0) backend_.copy_async(part(me), part(0), mine.count() * sizeof(float), stream);
}

void GradientReduction::all_gather(const GradientRange& bucket, device::Stream& stream) {
  const int D = replicas_.world_size();
  const int me = replicas_.rank();
  const GradientRange mine = part_of(bucket, me, D);
  for (int other = 0; other < D; ++other) {
    const GradientRange theirs = part_of(bucket, other, D);
    if (other == me || theirs.count() == 0) continue;
    requests_.push_back(replicas_.post_recv(bytes_of(theirs), other, stream));
  }
  for (int other = 0; other < D; ++other) {
    if (other == me || mine.count() == 0) continue;
    requests_.push_back(replicas_.send(bytes_of(mine), other, stream));
  }
  wait_for_all(stream);
}

}  // namespace halfpipe::runtime
