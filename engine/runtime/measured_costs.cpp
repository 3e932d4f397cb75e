// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/measured_costs.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "engine/runtime/ranks/activity.h"
#include "kernels/device/buffer.h"

namespace halfpipe::runtime {

namespace {

using Pair = std::pair<int, int>;  // the lower rank first

std::set<Pair> pairs_with_messages(const schedule::Plan& plan) {
  std::set<Pair> pairs;
  for (const schedule::Message& message : plan.messages) {
    pairs.emplace(std::min(message.src_rank, message.dst_rank),
                  std::max(message.src_rank, message.dst_rank));
  }
  return pairs;
}

/// Sends messages of the plan's size to another rank and back, as a step does: by events of the
/// device, so that a device's queue counts, not the host's clock.
class RoundTrips {
 public:
  RoundTrips(std::int64_t bytes, device::Backend& backend, transport::Transport& transport)
      : bytes_(static_cast<std::size_t>(bytes)),
        transport_(transport),
        stream_(backend.make_stream("link measurement")),
        begin_(backend.make_event()),
        end_(backend.make_event()),
        there_(backend, bytes_, transport.message_memory()),
        back_(backend, bytes_, transport.message_memory()) {}

  /// Half of the quickest of a few, on the pair's lower rank; its peer answers and returns 0.
  [[nodiscard]] double one_way_seconds(const Pair& pair) {
    constexpr int kTrips = 6;  // the first ones make the connection and touch the pages
    const bool begins = transport_.rank() == pair.first;
    const int peer = begins ? pair.second : pair.first;
    double quickest = std::numeric_limits<double>::infinity();
    for (int trip = 0; trip < kTrips; ++trip) {
      const transport::Request receive =
          transport_.post_recv({back_.bytes_pointer(), bytes_}, peer, *stream_);
      stream_->record(*begin_);
      if (!begins) transport_.wait(receive, *stream_);
      const transport::Request send =
          transport_.send({there_.bytes_pointer(), bytes_}, peer, *stream_);
      if (begins) transport_.wait(receive, *stream_);
      stream_->record(*end_);
      transport_.wait(send, *stream_);
      transport_.synchronize(*stream_);
      quickest = std::min(quickest, end_->seconds_since(*begin_));
    }
    return begins ? 0.5 * quickest : 0.0;
  }

 private:
  std::size_t bytes_;
  transport::Transport& transport_;
  std::unique_ptr<device::Stream> stream_;
  std::unique_ptr<device::Event> begin_, end_;
  device::Buffer there_, back_;
};

/// [pair], in the order of the set; the same on every rank.
std::vector<double> measure_links(const std::set<Pair>& pairs,
                                  std::int64_t bytes,
                                  device::Backend& backend,
                                  transport::Transport& transport) {
  std::vector<double> seconds(pairs.size(), 0.0);
  if (pairs.empty()) return seconds;
  RoundTrips trips(bytes, backend, transport);
  std::size_t index = 0;
  for (const Pair& pair : pairs) {
    // One pair after the other: links may share a machine's memory.
    transport.barrier();
    if (transport.rank() == pair.first || transport.rank() == pair.second) {
      seconds[index] = trips.one_way_seconds(pair);
    }
    ++index;
  }
  transport.all_reduce_sum(seconds);  // zero on all ranks but one
  return seconds;
}

}  // namespace

schedule::CostModel measure_costs(const Job& job,
                                  const PassTimes& mine,
                                  device::Backend& backend,
                                  transport::Transport& transport) {
  const std::set<Pair> pairs = pairs_with_messages(job.training);
  const std::vector<double> links =
      measure_links(pairs, job.training.message_bytes, backend, transport);

  schedule::CostModel costs = job.costs;
  costs.one_message_at_a_time = false;
  const auto num_ranks = static_cast<std::size_t>(job.placement.num_pipeline_ranks());
  costs.links.assign(num_ranks, std::vector<schedule::LinkCost>(num_ranks));
  std::size_t index = 0;
  for (const auto& [low, high] : pairs) {
    const auto from = static_cast<std::size_t>(low);
    const auto to = static_cast<std::size_t>(high);
    costs.links[from][to].latency_seconds = links[index];
    costs.links[to][from].latency_seconds = links[index];
    ++index;
  }

  const std::vector<PassTimes::StageTimes> medians = mine.medians();
  const auto all = transport.all_gather(std::as_bytes(std::span(medians)));
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    std::vector<PassTimes::StageTimes> chunks(medians.size());
    std::memcpy(chunks.data(), all[rank].data(), all[rank].size());
    for (std::size_t chunk = 0; chunk < chunks.size(); ++chunk) {
      const int stage = job.placement.stage_of(static_cast<int>(rank), static_cast<int>(chunk));
      schedule::StageCost& cost = costs.stages[static_cast<std::size_t>(stage)];
      const auto seconds = [&](schedule::Pass pass) {
        return chunks[chunk][static_cast<std::size_t>(pass)];
      };
      cost.forward_seconds = seconds(schedule::Pass::kForward);
      cost.backward_input_seconds = seconds(schedule::Pass::kBackwardInput);
      cost.backward_weight_seconds = seconds(schedule::Pass::kBackwardWeight);
    }
  }
  return costs;
}

schedule::CostModel mean_costs(schedule::CostModel of_pipeline, transport::Transport& world) {
  std::vector<double*> places;
  for (schedule::StageCost& stage : of_pipeline.stages) {
    places.insert(places.end(), {&stage.forward_seconds, &stage.backward_input_seconds,
                                 &stage.backward_weight_seconds});
  }
  for (std::vector<schedule::LinkCost>& from : of_pipeline.links) {
    for (schedule::LinkCost& to : from) places.push_back(&to.latency_seconds);
  }
  std::vector<double> sums;
  for (const double* place : places) sums.push_back(*place);
  world.all_reduce_sum(sums);  // every pipeline has as many ranks
  for (std::size_t i = 0; i < places.size(); ++i) *places[i] = sums[i] / world.world_size();
  return of_pipeline;
}

}  // namespace halfpipe::runtime
