// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step/parameter_gather.h"

#include "engine/runtime/ranks/activity.h"
#include "engine/runtime/step/bucket_gather.h"

namespace halfpipe::runtime {

ParameterGather::ParameterGather(model::ParameterSet& parameters,
                                 const std::vector<GradientBucket>& buckets,
                                 device::Backend& backend,
                                 transport::Transport& replicas)
    : parameters_(parameters), buckets_(buckets), backend_(backend), replicas_(replicas) {
  for (auto& requests : requests_) {
    requests.reserve(2 * static_cast<std::size_t>(replicas.world_size()));
  }
}

void ParameterGather::run(device::Stream& stream, std::int64_t step) {
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    const GradientBucket& bucket = buckets_[i];
    std::vector<transport::Request>& requests = requests_[i % kUnderWay];
    wait_for(requests, stream);
    publish_activity(replicas_, step, "parameters of the replicas");  // each is progress
    float* const values = parameters_.values().as<float>();
    start_gather(bucket, values + (bucket.whole().begin - bucket.num_without_value), replicas_,
                 stream, requests);
  }
  for (auto& requests : requests_) wait_for(requests, stream);
  parameters_.round_copies(backend_, stream);
}

void ParameterGather::wait_for(std::vector<transport::Request>& requests, device::Stream& stream) {
  for (const transport::Request request : requests) replicas_.wait(request, stream);
  requests.clear();
}

}  // namespace halfpipe::runtime
