// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step/gradient_exchange.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "engine/runtime/ranks/activity.h"
#include "engine/runtime/step/bucket_gather.h"
#include "kernels/core/error.h"
#include "kernels/ops/ops.h"

namespace halfpipe::runtime {
namespace {

/// Buckets that a rank receives at once: it looks at them between passes, so that one alone would
/// move a bucket a pass.
constexpr std::size_t kMostPlaces = 4;
/// Of both kinds of moves.
constexpr std::size_t kMostFlights = 2 * kMostPlaces;
/// A deadline that has passed.
constexpr std::chrono::steady_clock::time_point kLookOnly{};

std::size_t largest_part(const std::vector<GradientBucket>& buckets, int num_replicas) {
  std::size_t most = 0;
  for (const GradientBucket& bucket : buckets) {
    for (int replica = 0; replica < num_replicas; ++replica) {
      most = std::max(most, bucket.part(replica).count());
    }
  }
  return most;
}

std::span<std::byte> bytes_of(float* first, std::size_t count) {
  return {reinterpret_cast<std::byte*>(first), count * sizeof(float)};
}

std::size_t num_groups(const std::vector<GradientBucket>& buckets) {
  int most = -1;
  for (const GradientBucket& bucket : buckets) most = std::max(most, bucket.group);
  return static_cast<std::size_t>(most + 1);
}

}  // namespace

GradientExchange::GradientExchange(model::ParameterSet& parameters,
                                   const std::vector<GradientBucket>& buckets,
                                   const std::vector<int>& order,
                                   HeldSums held,
                                   device::Backend& backend,
                                   transport::Transport& replicas)
    : parameters_(parameters),
      buckets_(buckets),
      backend_(backend),
      replicas_(replicas),
      stream_(backend.make_stream("gradients")),
      finished_(backend.make_event()),
      part_floats_(largest_part(buckets, replicas.world_size())),
      num_places_(std::min(kMostPlaces, buckets.size())),
      received_(backend, bytes_for(buckets, replicas.world_size()), replicas.message_memory()) {
  line_up(order, held);
  place_is_free_.resize(num_places_);
  is_summed_.resize(buckets.size());
  is_released_.resize(num_groups(buckets));
  for (std::size_t i = 0; i < is_released_.size(); ++i) are_final_.push_back(backend.make_event());
  flights_.reserve(kMostFlights);
  spare_requests_.resize(kMostFlights);
  for (auto& requests : spare_requests_) {
    requests.reserve(2 * static_cast<std::size_t>(replicas.world_size()));
  }
}

GradientExchange::~GradientExchange() {
  if (!flights_.empty()) replicas_.give_up_messages();
}

std::size_t GradientExchange::bytes_for(const std::vector<GradientBucket>& buckets,
                                        int num_replicas) {
  return std::min(kMostPlaces, buckets.size()) * static_cast<std::size_t>(num_replicas) *
         largest_part(buckets, num_replicas) * sizeof(float);
}

void GradientExchange::line_up(const std::vector<int>& order, HeldSums held) {
  std::size_t num_reduced = 0;
  for (const int group : order) {
    std::vector<std::size_t> of_group;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      if (buckets_[i].group == group) of_group.push_back(i);
    }
    // A bucket is gathered once as many others are on their way as there are places: before, its
    // messages would wait behind its own sums.
    const std::size_t count = of_group.size();
    const std::size_t behind = num_places_ - 1;
    for (std::size_t i = 0; i < count + behind; ++i) {
      if (i < count) moves_.push_back({of_group[i], false, num_reduced++ % num_places_});
      if (held == HeldSums::kAll && i >= behind) {
        moves_.push_back({of_group[i - behind], true, 0});
      }
    }
  }
  const std::size_t moves_per_bucket = held == HeldSums::kAll ? 2 : 1;
  HALFPIPE_CHECK(moves_.size() == moves_per_bucket * buckets_.size(),
                 "every group of buckets is released once");
}

void GradientExchange::begin(std::int64_t step) {
  HALFPIPE_CHECK(flights_.empty(), "an exchange begins before the last one has ended");
  step_ = step;
  next_ = 0;
  std::fill(place_is_free_.begin(), place_is_free_.end(), true);
  std::fill(is_summed_.begin(), is_summed_.end(), false);
  std::fill(is_released_.begin(), is_released_.end(), false);
}

void GradientExchange::release(int group, device::Stream& compute) {
  const auto index = static_cast<std::size_t>(group);
  if (index >= is_released_.size()) return;  // none of its parameters are here
  compute.record(*are_final_[index]);
  is_released_[index] = true;
}

void GradientExchange::advance() {
  while (go_on(Patience::kLook)) {
  }
}

void GradientExchange::finish_released(device::Stream& compute) {
  while (go_on(Patience::kWait)) {
  }
  stream_->record(*finished_);
  compute.wait_for(*finished_);
}

bool GradientExchange::may_start(const Move& move, Patience patience) const {
  if (flights_.size() == kMostFlights) return false;
  if (move.gathers) return is_summed_[move.bucket];
  const auto group = static_cast<std::size_t>(buckets_[move.bucket].group);
  return place_is_free_[move.place] && is_released_[group] &&
         (patience == Patience::kWait || are_final_[group]->reached());
}

bool GradientExchange::go_on(Patience patience) {
  bool any = false;
  for (; next_ < moves_.size() && may_start(moves_[next_], patience); ++next_) {
    start(moves_[next_]);
    any = true;
  }
  for (std::size_t i = 0; i < flights_.size();) {
    if (end_if_done(i, Patience::kLook)) {
      any = true;
    } else {
      ++i;
    }
  }
  if (any || patience == Patience::kLook || flights_.empty()) return any;
  publish_activity(replicas_, step_, "gradients of the replicas");  // each is progress
  return end_if_done(0, Patience::kWait);
}

void GradientExchange::start(const Move& move) {
  const GradientBucket& bucket = buckets_[move.bucket];
  Flight flight{move, std::move(spare_requests_.back())};
  spare_requests_.pop_back();
  if (move.gathers) {
    start_gather(bucket, gradients() + bucket.whole().begin, replicas_, *stream_, flight.requests);
  } else {
    stream_->wait_for(*are_final_[static_cast<std::size_t>(bucket.group)]);
    place_is_free_[move.place] = false;
    start_reduce(bucket, move.place, flight);
  }
  flights_.push_back(std::move(flight));
}

void GradientExchange::start_reduce(const GradientBucket& bucket,
                                    std::size_t place,
                                    Flight& flight) {
  const int D = replicas_.world_size();
  const int me = replicas_.rank();
  const GradientRange mine = bucket.part(me);
  for (int other = 0; other < D; ++other) {
    if (other == me || mine.count() == 0) continue;
    flight.requests.push_back(
        replicas_.post_recv(bytes_of(received_from(other, place), mine.count()), other, *stream_));
  }
  for (int other = 0; other < D; ++other) {
    const GradientRange theirs = bucket.part(other);
    if (other == me || theirs.count() == 0) continue;
    flight.requests.push_back(
        replicas_.send(bytes_of(gradients() + theirs.begin, theirs.count()), other, *stream_));
  }
}

bool GradientExchange::end_if_done(std::size_t index, Patience patience) {
  Flight& flight = flights_[index];
  while (!flight.requests.empty()) {
    const transport::Request request = flight.requests.back();
    if (patience == Patience::kWait) {
      replicas_.wait(request, *stream_);
    } else if (!replicas_.wait_until(request, *stream_, kLookOnly)) {
      return false;
    }
    flight.requests.pop_back();
  }
  if (!flight.move.gathers) {
    add_up(buckets_[flight.move.bucket], flight.move.place);
    is_summed_[flight.move.bucket] = true;
    place_is_free_[flight.move.place] = true;
  }
  spare_requests_.push_back(std::move(flight.requests));
  flights_.erase(flights_.begin() + static_cast<std::ptrdiff_t>(index));
  return true;
}

void GradientExchange::add_up(const GradientBucket& bucket, std::size_t place) {
  const int D = replicas_.world_size();
  const int me = replicas_.rank();
  const GradientRange mine = bucket.part(me);
  if (mine.count() == 0) return;
  float* const own = gradients() + mine.begin;
  // ((g0 + g1) + g2) + ...: the sum grows where the first replica's part lies.
  const auto part = [&](int replica) {
    return replica == me ? own : received_from(replica, place);
  };
  for (int replica = 1; replica < D; ++replica) {
    backend_.ops().accumulate(
        {.dst = part(0), .src = part(replica), .count = static_cast<std::int64_t>(mine.count())},
        *stream_);
  }
  if (me != 0) backend_.copy_async(own, part(0), mine.count() * sizeof(float), *stream_);
}

float* GradientExchange::gradients() const {
  return parameters_.gradients().as<float>();
}

float* GradientExchange::received_from(int replica, std::size_t place) const {
  const std::size_t D = static_cast<std::size_t>(replicas_.world_size());
  return received_.as<float>() + (place * D + static_cast<std::size_t>(replica)) * part_floats_;
}

}  // namespace halfpipe::runtime
