// SPDX-License-Identifier: Apache-2.0
// The sum of the gradients of all replicas, on every replica: a reduce-scatter and an all-gather
// over fixed buckets. Each element is added in the order of the replicas, whoever adds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/runtime/gradient_buckets.h"
#include "kernels/device/backend.h"
#include "kernels/device/buffer.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

class GradientReduction {
 public:
  /// `replicas`: of this rank's stages; it moves messages of the backend's memory. Parameters are
  /// allocated; all must outlive this.
  GradientReduction(model::ParameterSet& parameters,
                    device::Backend& backend,
                    transport::Transport& replicas,
                    std::size_t bucket_floats = kBucketFloats);

  /// Collective among the replicas. Ordered by the stream; the host waits for messages. `step` is
  /// for messages about ranks that stand still.
  void run(device::Stream& stream, std::int64_t step);

  [[nodiscard]] std::size_t bytes() const { return received_.bytes(); }
  /// What the constructor takes.
  [[nodiscard]] static std::size_t bytes_for(const std::vector<model::Parameter>& parameters,
                                             int num_replicas,
                                             std::size_t bucket_floats = kBucketFloats);

 private:
  /// Replaces my part of a bucket by the sum of all replicas' parts.
  void reduce_scatter(const GradientRange& bucket, device::Stream& stream);
  /// Replaces the parts of the others by theirs.
  void all_gather(const GradientRange& bucket, device::Stream& stream);
  [[nodiscard]] std::span<std::byte> bytes_of(const GradientRange& range) const;
  [[nodiscard]] float* received_from(int replica) const;
  void wait_for_all(device::Stream& stream);

  model::ParameterSet& parameters_;
  device::Backend& backend_;
  transport::Transport& replicas_;
  std::vector<GradientRange> buckets_;
  std::size_t part_floats_;  // of the largest part
  device::Buffer received_;  // [replicas, part_floats]; mine is unused
  std::vector<transport::Request> requests_;
};

}  // namespace halfpipe::runtime
