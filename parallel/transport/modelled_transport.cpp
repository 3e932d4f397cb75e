// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/modelled_transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "kernels/core/error.h"
#include "kernels/modelled/modelled_stream.h"

namespace halfpipe::transport {
namespace {

using modelled::Clock;

/// A deadline for those who only look.
constexpr Clock::time_point kLongAgo{};

/// What the carrier's messages wait for: nothing, they leave on time by themselves.
class NoWork final : public device::Stream {
 public:
  void record(device::Event& /*event*/) override {}
  void wait_for(device::Event& /*event*/) override {}
  void synchronize() override {}
};

NoWork no_work;

template <typename Value>
auto bytes_of(Value& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

modelled::ModelledStream& modelled_stream(device::Stream& stream) {
  return static_cast<modelled::ModelledStream&>(stream);
}

}  // namespace

bool Departures::is_later(const Departure& one, const Departure& other) {
  return std::pair(one.leaves, one.number) > std::pair(other.leaves, other.number);
}

void Departures::add(TimePoint leaves, ModelledTransport& transport, std::int32_t message) {
  waiting_.push_back({leaves, num_added_++, &transport, message});
  std::ranges::push_heap(waiting_, is_later);
}

Departures::TimePoint Departures::start_due() {
  for (const TimePoint now = Clock::now(); !waiting_.empty();) {
    if (waiting_.front().leaves > now) return waiting_.front().leaves;
    std::ranges::pop_heap(waiting_, is_later);
    const Departure due = waiting_.back();
    waiting_.pop_back();
    due.transport->depart(due.message);
  }
  return TimePoint::max();
}

void Departures::forget(const ModelledTransport& transport) {
  std::erase_if(waiting_, [&](const Departure& each) { return each.transport == &transport; });
  std::ranges::make_heap(waiting_, is_later);
}

ModelledTransport::ModelledTransport(Transport& carrier,
                                     const std::vector<ModelledLink>& links,
                                     Departures* shared_or_null)
    : CarriedTransport(carrier), departures_(shared_or_null == nullptr ? own_ : *shared_or_null) {
  HALFPIPE_CHECK(links.size() == static_cast<std::size_t>(carrier.world_size()),
                 "a link to each rank is needed");
  // A group of ranks says how many of the job are here.
  HALFPIPE_CHECK(carrier.ranks_on_this_host() >= carrier.world_size(),
                 "modelled devices are all on one host");
  std::map<int, std::size_t> adapters;  // by their numbers
  for (const ModelledLink& link : links) {
    const std::size_t next = adapter_free_at_.size();
    const std::size_t adapter = link.adapter == ModelledLink::kAlone
                                    ? next
                                    : adapters.emplace(link.adapter, next).first->second;
    if (adapter == next) adapter_free_at_.emplace_back();
    peers_.push_back({.link = link, .adapter = adapter});
  }
}

ModelledTransport::~ModelledTransport() {
  departures_.forget(*this);
  const bool all_done = std::ranges::all_of(
      messages_, [](const Message& message) { return message.state == Message::State::kFree; });
  if (all_done) return;
  // After an error, or where the carrier has not yet told: it may still read and write the notes.
  static std::mutex mutex;
  static std::vector<std::deque<Message>> kept;
  const std::lock_guard lock(mutex);
  kept.push_back(std::move(messages_));
}

ModelledTransport::Peer& ModelledTransport::peer(int rank) {
  HALFPIPE_CHECK(rank >= 0 && rank < world_size(), fmt::format("there is no rank {}", rank));
  return peers_[static_cast<std::size_t>(rank)];
}

std::int32_t ModelledTransport::take_place() {
  collect_sent();
  if (free_.empty()) {
    free_.push_back(static_cast<std::int32_t>(messages_.size()));
    messages_.emplace_back();
  }
  const std::int32_t index = free_.back();
  free_.pop_back();
  return index;
}

void ModelledTransport::give_back(std::int32_t index) {
  at(index).state = Message::State::kFree;
  free_.push_back(index);
}

Request ModelledTransport::send(std::span<const std::byte> src,
                                int dst_rank,
                                device::Stream& stream) {
  Peer& to = peer(dst_rank);
  const std::int32_t index = take_place();
  Message& message = at(index);
  message.state = Message::State::kToSend;
  message.peer = dst_rank;
  // A stream that has run dry does not send in the past.
  const TimePoint ready = std::max(modelled_stream(stream).free_at(), Clock::now());
  TimePoint& adapter_free_at = adapter_free_at_[to.adapter];
  const TimePoint leaves = std::max(ready, adapter_free_at);
  message.is_gone =
      modelled::later(leaves, static_cast<double>(src.size()) / to.link.bytes_per_second);
  adapter_free_at = message.is_gone;
  const TimePoint arrival = modelled::later(message.is_gone, to.link.latency_seconds);
  message.note = {to.num_sent++, static_cast<std::int64_t>(src.size()),
                  std::chrono::nanoseconds(arrival.time_since_epoch()).count()};
  departures_.add(leaves, *this, index);
  departures_.start_due();
  return {index};
}

Request ModelledTransport::post_recv(std::span<std::byte> dst,
                                     int src_rank,
                                     device::Stream& /*stream*/) {
  Peer& from = peer(src_rank);
  const std::int32_t index = take_place();
  Message& message = at(index);
  message.state = Message::State::kReceiving;
  message.peer = src_rank;
  message.number = from.num_received++;
  message.bytes = static_cast<std::int64_t>(dst.size());
  message.carried = carrier().post_recv(bytes_of(message.note), src_rank, no_work);
  return {index};
}

void ModelledTransport::wait(Request request, device::Stream& stream) {
  (void)wait_until(request, stream, TimePoint::max());
}

bool ModelledTransport::wait_until(Request request, device::Stream& stream, TimePoint deadline) {
  const auto index = static_cast<std::size_t>(request.index);
  HALFPIPE_CHECK(request.index >= 0 && index < messages_.size() &&
                     messages_[index].state != Message::State::kFree &&
                     messages_[index].state != Message::State::kWaitedFor,
                 "a request is waited for exactly once");
  const bool receives = at(request.index).state == Message::State::kReceiving;
  return receives ? finish_receive(request.index, stream, deadline)
                  : finish_send(request.index, stream, deadline);
}

bool ModelledTransport::finish_send(std::int32_t index,
                                    device::Stream& stream,
                                    TimePoint deadline) {
  Message& message = at(index);
  for (TimePoint next = departures_.start_due(); message.state == Message::State::kToSend;
       next = departures_.start_due()) {
    if (Clock::now() >= deadline) return false;
    modelled::sleep_until(std::min(next, deadline));
  }
  modelled_stream(stream).wait_until(message.is_gone);
  message.state = Message::State::kWaitedFor;
  sent_.push_back(index);
  return true;
}

bool ModelledTransport::finish_receive(std::int32_t index,
                                       device::Stream& stream,
                                       TimePoint deadline) {
  Message& message = at(index);
  departures_.start_due();
  const bool was_there = carrier().wait_until(message.carried, no_work, kLongAgo);
  bool is_there = was_there;
  while (!is_there) {
    if (Clock::now() >= deadline) return false;
    const TimePoint next = departures_.start_due();
    is_there = carrier().wait_until(message.carried, no_work, std::min(next, deadline));
  }
  const Note& note = message.note;
  if (note.number != message.number || note.bytes != message.bytes) {
    throw InternalError(
        fmt::format("rank {}: message {} of rank {} with {} bytes was expected, message {} with {} "
                    "bytes came",
                    rank(), message.number, message.peer, message.bytes, note.number, note.bytes));
  }
  TimePoint arrival{
      std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(note.arrival_ns))};
  // A message that the host has slept for is not there before the host has it.
  if (!was_there) arrival = std::max(arrival, Clock::now());
  modelled_stream(stream).wait_until(arrival);
  give_back(index);
  return true;
}

void ModelledTransport::depart(std::int32_t index) {
  Message& message = at(index);
  message.carried = carrier().send(bytes_of(message.note), message.peer, no_work);
  message.state = Message::State::kSent;
}

void ModelledTransport::collect_sent() {
  std::erase_if(sent_, [&](std::int32_t index) {
    if (!carrier().wait_until(at(index).carried, no_work, kLongAgo)) return false;
    give_back(index);
    return true;
  });
}

}  // namespace halfpipe::transport
