// SPDX-License-Identifier: Apache-2.0
// The sums of the gradients of all replicas: a reduce-scatter over fixed buckets and, where every
// replica needs all of them, an all-gather; behind the passes that are still to come. Each element
// is added in the order of the replicas, whoever adds it and whenever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/runtime/step/gradient_buckets.h"
#include "kernels/device/backend.h"
#include "kernels/device/buffer.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// Which sums a replica holds in the end, in place of its gradients; the others are undefined.
enum class HeldSums : std::uint8_t { kAll, kOwnParts };

/// Replicas start their messages in one order, which the order of the groups decides alone: not
/// when a replica gets to them.
class GradientExchange {
 public:
  /// `replicas`: of this rank's stages, and of no other use during an exchange; it moves messages
  /// of the backend's memory. order: the groups of the buckets, as they will be released.
  /// Parameters are allocated; all must outlive this.
  GradientExchange(model::ParameterSet& parameters,
                   const std::vector<GradientBucket>& buckets,
                   const std::vector<int>& order,
                   HeldSums held,
                   device::Backend& backend,
                   transport::Transport& replicas);
  /// Gives up what is under way: the rank fails.
  ~GradientExchange();
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  /// A new step, of which nothing is released. `step` is for messages about ranks that stand still.
  void begin(std::int64_t step);
  /// The gradients of a group are final after the work that is on `compute` by now.
  void release(int group, device::Stream& compute);
  /// Goes on with what is released, and waits neither for messages nor for `compute`. The host may
  /// wait for sums and copies of the exchange itself.
  void advance();
  /// Waits for all that is released. Work enqueued on `compute` later sees its sums.
  void finish_released(device::Stream& compute);

  /// Nothing of this step is left to start or to wait for.
  [[nodiscard]] bool is_done() const { return next_ == moves_.size() && flights_.empty(); }

  [[nodiscard]] std::size_t bytes() const { return received_.bytes(); }
  /// What the constructor takes.
  [[nodiscard]] static std::size_t bytes_for(const std::vector<GradientBucket>& buckets,
                                             int num_replicas);

 private:
  /// One bucket's part in the exchange: its reduce-scatter, or its all-gather.
  struct Move {
    std::size_t bucket;
    bool gathers;
    std::size_t place;  // of a reduce-scatter: where it receives
  };
  /// A move whose messages are under way.
  struct Flight {
    Move move;
    std::vector<transport::Request> requests;
  };
  enum class Patience : std::uint8_t { kLook, kWait };

  /// The one order of all moves of a step.
  void line_up(const std::vector<int>& order, HeldSums held);
  [[nodiscard]] bool may_start(const Move& move, Patience patience) const;
  /// Starts and ends what can be by now; whether anything was.
  bool go_on(Patience patience);
  void start(const Move& move);
  void start_reduce(const GradientBucket& bucket, std::size_t place, Flight& flight);
  /// Whether the messages of a flight are done; it then is ended, and its place free.
  bool end_if_done(std::size_t index, Patience patience);
  void add_up(const GradientBucket& bucket, std::size_t place);
  [[nodiscard]] float* gradients() const;
  [[nodiscard]] float* received_from(int replica, std::size_t place) const;

  model::ParameterSet& parameters_;
  const std::vector<GradientBucket>& buckets_;
  device::Backend& backend_;
  transport::Transport& replicas_;
  std::unique_ptr<device::Stream> stream_;
  std::unique_ptr<device::Event> finished_;
  std::size_t part_floats_;      // of the largest part
  std::size_t num_places_;       // buckets that are received at once
  device::Buffer received_;      // [places, replicas, part_floats]; mine is unused
  std::vector<Move> moves_;      // of a step
  std::size_t next_ = 0;         // move to start
  std::vector<Flight> flights_;  // oldest first
  std::vector<std::vector<transport::Request>> spare_requests_;
  std::vector<bool> place_is_free_;
  std::vector<bool> is_summed_;                            // [buckets]
  std::vector<bool> is_released_;                          // [groups]
  std::vector<std::unique_ptr<device::Event>> are_final_;  // [groups]
  std::int64_t step_ = 0;
};

}  // namespace halfpipe::runtime
