// SPDX-License-Identifier: Apache-2.0
// Brings the parameters that each replica has stepped to all of them, while passes on others of
// them run already.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/model/parameter.h"
#include "engine/runtime/step/gradient_buckets.h"
#include "kernels/device/backend.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

class ParameterGather {
 public:
  /// How many buckets' messages are under way at once. kSome: where each occupies pinned memory as
  /// long; then start() waits for all of them.
  enum class UnderWay : std::uint8_t { kAll, kSome };

  /// groups: of each parameter of the set, as those of the buckets; order: of the groups, those
  /// needed first in front. Parameters are allocated; they, the buckets, the backend and the
  /// transport must outlive this.
  ParameterGather(model::ParameterSet& parameters,
                  std::vector<int> groups,
                  const std::vector<GradientBucket>& buckets,
                  const std::vector<int>& order,
                  UnderWay under_way,
                  device::Backend& backend,
                  transport::Transport& replicas);

  /// Gives up what is under way: the rank fails.
  ~ParameterGather();
  ParameterGather(const ParameterGather&) = delete;
  ParameterGather& operator=(const ParameterGather&) = delete;

  /// Starts to replace the values in the others' parts of the buckets by theirs, as soon as the
  /// stream has come so far, and to send them this one's, which nobody may write until they are
  /// finished. Collective among the replicas. `step` is for messages about ranks that stand still.
  void start(device::Stream& compute, std::int64_t step);
  /// Later work on the stream sees the whole values of a group, and copies made of them anew. Does
  /// nothing where they are finished. The host may wait for messages.
  void finish(int group, device::Stream& compute);
  void finish_all(device::Stream& compute);

  /// For how long the stream has waited in finish(), seconds, since the last start(). The stream
  /// has been synchronized since.
  [[nodiscard]] double exposed_seconds() const;

 private:
  struct Group {
    std::vector<std::size_t> buckets;
    std::vector<transport::Request> requests;
    std::unique_ptr<device::Event> wait_begin, wait_end;
    bool is_under_way = false;
    bool was_waited_for = false;  // since the last start
  };

  void wait_for(std::vector<transport::Request>& requests);

  model::ParameterSet& parameters_;
  std::vector<int> groups_;
  const std::vector<GradientBucket>& buckets_;
  UnderWay under_way_;
  device::Backend& backend_;
  transport::Transport& replicas_;
  std::unique_ptr<device::Stream> stream_;  // beside the passes
  std::unique_ptr<device::Event> is_stepped_, is_whole_;
  std::vector<int> order_;
  std::vector<Group> of_group_;  // [groups]
  std::int64_t step_ = 0;
};

}  // namespace halfpipe::runtime
