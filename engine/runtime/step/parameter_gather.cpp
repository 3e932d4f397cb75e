// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step/parameter_gather.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/runtime/ranks/activity.h"
#include "engine/runtime/step/bucket_gather.h"
#include "kernels/core/error.h"
#include "kernels/ops/ops.h"

namespace halfpipe::runtime {

ParameterGather::ParameterGather(model::ParameterSet& parameters,
                                 std::vector<int> groups,
                                 const std::vector<GradientBucket>& buckets,
                                 const std::vector<int>& order,
                                 UnderWay under_way,
                                 device::Backend& backend,
                                 transport::Transport& replicas)
    : parameters_(parameters),
      groups_(std::move(groups)),
      buckets_(buckets),
      under_way_(under_way),
      backend_(backend),
      replicas_(replicas),
      stream_(backend.make_stream("parameters")),
      is_stepped_(backend.make_event()),
      is_whole_(backend.make_event()) {
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    const auto group = static_cast<std::size_t>(buckets[i].group);
    if (group >= of_group_.size()) of_group_.resize(group + 1);
    of_group_[group].buckets.push_back(i);
  }
  for (Group& group : of_group_) {
    group.requests.reserve(group.buckets.size() * 2 *
                           static_cast<std::size_t>(replicas.world_size()));
    group.wait_begin = backend.make_event();
    group.wait_end = backend.make_event();
  }
  std::ranges::copy_if(order, std::back_inserter(order_), [&](int group) {
    return static_cast<std::size_t>(group) < of_group_.size();
  });
  std::size_t num_buckets = 0;
  for (const int group : order_) {
    num_buckets += of_group_[static_cast<std::size_t>(group)].buckets.size();
  }
  HALFPIPE_CHECK(num_buckets == buckets.size(), "every group of parameters is gathered once");
}

ParameterGather::~ParameterGather() {
  const auto is_under_way = [](const Group& group) { return !group.requests.empty(); };
  if (std::ranges::any_of(of_group_, is_under_way)) replicas_.give_up_messages();
}

void ParameterGather::start(device::Stream& compute, std::int64_t step) {
  step_ = step;
  compute.record(*is_stepped_);
  stream_->wait_for(*is_stepped_);
  for (const int index : order_) {
    Group& group = of_group_[static_cast<std::size_t>(index)];
    HALFPIPE_CHECK(!group.is_under_way, "parameters are gathered while they are under way");
    group.is_under_way = true;
    group.was_waited_for = false;
    constexpr std::size_t kSome = 4;
    std::size_t num_started = 0;
    for (const std::size_t i : group.buckets) {
      if (under_way_ == UnderWay::kSome && num_started++ % kSome == 0) wait_for(group.requests);
      const GradientBucket& bucket = buckets_[i];
      float* const values = parameters_.values().as<float>();
      start_gather(bucket, values + (bucket.whole().begin - bucket.num_without_value), replicas_,
                   *stream_, group.requests);
    }
    if (under_way_ == UnderWay::kSome) finish(index, compute);
  }
}

void ParameterGather::finish(int group, device::Stream& compute) {
  const auto index = static_cast<std::size_t>(group);
  if (index >= of_group_.size() || !of_group_[index].is_under_way) return;
  Group& parameters = of_group_[index];
  compute.record(*parameters.wait_begin);
  wait_for(parameters.requests);
  const std::vector<model::Parameter>& all = parameters_.all();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (groups_[i] != group || all[i].copy == nullptr) continue;
    backend_.ops().round_to_bfloat16(
        {.dst = all[i].copy, .src = all[i].value, .count = all[i].count()}, *stream_);
  }
  stream_->record(*is_whole_);
  compute.wait_for(*is_whole_);
  compute.record(*parameters.wait_end);
  parameters.is_under_way = false;
  parameters.was_waited_for = true;
}

void ParameterGather::finish_all(device::Stream& compute) {
  for (const int group : order_) finish(group, compute);
}

double ParameterGather::exposed_seconds() const {
  double seconds = 0.0;
  for (const Group& group : of_group_) {
    if (group.was_waited_for) seconds += group.wait_end->seconds_since(*group.wait_begin);
  }
  return seconds;
}

void ParameterGather::wait_for(std::vector<transport::Request>& requests) {
  for (const transport::Request request : requests) {
    publish_activity(replicas_, step_, "parameters of the replicas");  // each is progress
    replicas_.wait(request, *stream_);
  }
  requests.clear();
}

}  // namespace halfpipe::runtime
