// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/local_transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>

#include "kernels/core/error.h"
#include "parallel/transport/rank_lost.h"

namespace halfpipe::transport {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// How often a sleeping rank looks around. A message wakes it at once.
constexpr auto kLookInterval = milliseconds(20);
/// A few microseconds: shorter than putting a thread to sleep and waking it.
constexpr int kSpins = 2000;

}  // namespace

LocalTransport::LocalTransport(LocalGroup& group, int rank)
    : group_(group),
      rank_(rank),
      parking_(group.parkings_.at(static_cast<std::size_t>(rank))),
      spin_first_(cores_suffice(group.num_ranks())),
      exceptions_at_start_(std::uncaught_exceptions()) {
  group_.board_.enter(rank, rank, this_process());
}

LocalTransport::~LocalTransport() {
  const bool failed = std::uncaught_exceptions() > exceptions_at_start_;
  group_.board_.leave(rank_, failed ? Life::kFailed : Life::kEnded);
  if (failed) abort(1);
  withdraw_all();
}

// ---- messages ----

LocalTransport::Started LocalTransport::start(bool is_send, int peer, std::size_t num_bytes) {
  HALFPIPE_CHECK(peer >= 0 && peer < world_size(), fmt::format("there is no rank {}", peer));
  throw_if_aborted();
  if (free_.empty()) {
    free_.push_back(static_cast<std::int32_t>(messages_.size()));
    messages_.emplace_back();
  }
  const Request request{free_.back()};
  free_.pop_back();
  LocalMessage& message = messages_[static_cast<std::size_t>(request.index)];
  message.is_send = is_send;
  message.num_bytes = num_bytes;
  message.peer = peer;
  message.owner = &parking_;
  return {request, message};
}

void LocalTransport::post(LocalMessage& message, Mailbox& mailbox) {
  if (!mailbox.post(message)) throw_if_aborted();
}

Request LocalTransport::send(std::span<const std::byte> src, int dst_rank, device::Stream& stream) {
  stream.synchronize();
  const Started started = start(/*is_send=*/true, dst_rank, src.size());
  // The mailbox reads a send's bytes only; one message type serves both directions.
  started.message.bytes = const_cast<std::byte*>(src.data());
  post(started.message, group_.mailbox(rank_, dst_rank));
  return started.request;
}

Request LocalTransport::post_recv(std::span<std::byte> dst, int src_rank, device::Stream& stream) {
  stream.synchronize();
  const Started started = start(/*is_send=*/false, src_rank, dst.size());
  started.message.bytes = dst.data();
  post(started.message, group_.mailbox(src_rank, rank_));
  return started.request;
}

void LocalTransport::wait(Request request, device::Stream& stream) {
  (void)wait_until(request, stream, Clock::time_point::max());
}

bool LocalTransport::wait_until(Request request,
                                device::Stream& /*stream*/,
                                Clock::time_point deadline) {
  LocalMessage& message = message_of(request);
  const char* const what = message.is_send ? "send" : "receive";
  const WaitSubject subject{rank_, world_size(), message.peer, what};
  if (!block(
          subject, [&] { return message.settled(); }, deadline))
    return false;
  const bool mismatch = message.state.load() == LocalMessage::State::kMismatch;
  const int peer = message.peer;
  const std::size_t own_bytes = message.num_bytes;
  const std::size_t partner_bytes = message.partner_bytes;
  release(request);
  if (!mismatch) return true;
  throw InternalError(fmt::format("rank {}: {} of {} bytes, but rank {} named {} bytes", rank_,
                                  what, own_bytes, peer, partner_bytes));
}

LocalMessage& LocalTransport::message_of(Request request) {
  const auto index = static_cast<std::size_t>(request.index);
  HALFPIPE_CHECK(request.index >= 0 && index < messages_.size() &&
                     messages_[index].state.load() != LocalMessage::State::kFree,
                 "a request is waited for exactly once");
  return messages_[index];
}

Mailbox& LocalTransport::mailbox_of(const LocalMessage& message) {
  return message.is_send ? group_.mailbox(rank_, message.peer)
                         : group_.mailbox(message.peer, rank_);
}

void LocalTransport::withdraw_all() {
  for (LocalMessage& message : messages_) {
    if (message.state.load() != LocalMessage::State::kFree) mailbox_of(message).withdraw(message);
  }
}

void LocalTransport::release(Request request) {
  messages_[static_cast<std::size_t>(request.index)].state.store(LocalMessage::State::kFree);
  free_.push_back(request.index);
}

bool LocalTransport::watch_until(std::string_view what,
                                 int peer,
                                 const std::function<bool()>& done,
                                 Clock::time_point deadline) {
  throw_if_aborted();
  Nap nap(spin_first_);
  return block({rank_, world_size(), peer, what}, done, deadline, &nap);
}

// ---- collective calls ----

void LocalTransport::all_reduce_sum(std::span<double> inout) {
  contribute(std::as_bytes(inout));
  meet("all_reduce_sum");
  // Summed where the contributions lie: a copy of them would be an allocation in every step.
  int odd_rank = -1;
  std::size_t odd_bytes = 0;
  for (int rank = 0; rank < world_size() && odd_rank < 0; ++rank) {
    const std::vector<std::byte>& part = group_.contributions_[static_cast<std::size_t>(rank)];
    if (part.size() != inout.size_bytes()) {
      odd_rank = rank;
      odd_bytes = part.size();
      continue;
    }
    for (std::size_t i = 0; i < inout.size(); ++i) {
      double value = 0.0;
      std::memcpy(&value, part.data() + i * sizeof(double), sizeof(double));
      inout[i] = rank == 0 ? value : inout[i] + value;
    }
  }
  meet("all_reduce_sum");
  HALFPIPE_CHECK(odd_rank < 0, fmt::format("all_reduce_sum of {} bytes on rank {}, {} on rank {}",
                                           inout.size_bytes(), rank_, odd_bytes, odd_rank));
}

void LocalTransport::broadcast(std::vector<std::byte>& inout, int root) {
  HALFPIPE_CHECK(root >= 0 && root < world_size(), fmt::format("there is no rank {}", root));
  std::vector<std::byte>& shared = group_.contributions_[static_cast<std::size_t>(root)];
  if (rank_ == root) shared = inout;
  meet("broadcast");
  if (rank_ != root) inout = shared;
  meet("broadcast");
}

std::vector<std::vector<std::byte>> LocalTransport::all_gather(std::span<const std::byte> mine) {
  contribute(mine);
  meet("all_gather");
  std::vector<std::vector<std::byte>> all = group_.contributions_;
  meet("all_gather");
  return all;
}

void LocalTransport::contribute(std::span<const std::byte> mine) {
  // Keeps its capacity.
  group_.contributions_[static_cast<std::size_t>(rank_)].assign(mine.begin(), mine.end());
}

void LocalTransport::meet(std::string_view what) {
  throw_if_aborted();
  const std::uint64_t generation = group_.generation_.load(std::memory_order_acquire);
  bool last = false;
  {
    const std::lock_guard lock(group_.barrier_mutex_);
    last = ++group_.num_arrived_ == world_size();
    if (last) {
      group_.num_arrived_ = 0;
      group_.generation_.store(generation + 1, std::memory_order_release);
    }
  }
  if (last) {
    group_.wake_all();
    return;
  }
  block({rank_, world_size(), -1, what},
        [&] { return group_.generation_.load(std::memory_order_acquire) != generation; });
}

// ---- waiting ----

template <typename Ready>
bool LocalTransport::block(const WaitSubject& subject,
                           const Ready& ready,
                           Clock::time_point deadline,
                           Nap* nap_or_null) {
  if (spin_first_) {
    for (int i = 0; i < kSpins; ++i) {
      if (ready()) return true;
    }
  }
  std::optional<StallClock> clock;  // made late: most waits are short
  while (!ready()) {
    throw_if_aborted();
    const Clock::duration left = deadline - Clock::now();
    if (left <= Clock::duration::zero()) return false;
    if (!clock) clock.emplace(group_.board_, timeout_seconds_);
    Clock::duration longest = std::min<Clock::duration>(kLookInterval, left);
    if (nap_or_null != nullptr) {
      const std::chrono::duration<double, std::micro> nap(nap_or_null->next_sleep_us());
      longest = std::min(longest, std::chrono::duration_cast<Clock::duration>(nap));
    }
    const bool woken = parking_.sleep([&] { return ready() || group_.aborted(); }, longest);
    if (woken) continue;
    if (clock->stalled()) group_.abort(1, stall_message(group_.board_, subject, clock->seconds()));
    // A rank that has left did so after its last message: what is not here by now never comes.
    const std::optional<int> gone = find_left(group_.board_, subject);
    if (gone && !ready()) group_.abort(1, left_message(group_.board_, subject, *gone));
  }
  return true;
}

void LocalTransport::throw_if_aborted() {
  if (!group_.aborted()) return;
  // The caller's buffers may go away with the exception: nobody may copy into them any more.
  withdraw_all();
  throw RankLost(group_.abort_reason());
}

void LocalTransport::abort(int exit_code) noexcept {
  group_.abort(exit_code, fmt::format("rank {}/{} ended the job with exit code {}", rank_,
                                      world_size(), exit_code));
}

}  // namespace halfpipe::transport
