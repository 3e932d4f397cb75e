// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/local_mailbox.h"

#include <cstring>
#include <thread>

namespace halfpipe::transport {
namespace {

using State = LocalMessage::State;

/// Publishes the end of a message. Its owner may reuse it at once, so nothing of it is read later.
void settle(LocalMessage& message, State state) {
  Parking& owner = *message.owner;
  message.state.store(state, std::memory_order_release);
  owner.wake();
}

/// Copies a matched pair, outside of any lock.
void carry(LocalMessage& one, LocalMessage& other) {
  const LocalMessage& send = one.is_send ? one : other;
  const LocalMessage& receive = one.is_send ? other : one;
  State end = State::kDone;
  if (send.num_bytes != receive.num_bytes) {
    one.partner_bytes = other.num_bytes;
    other.partner_bytes = one.num_bytes;
    end = State::kMismatch;
  } else if (send.num_bytes > 0) {
    std::memcpy(receive.bytes, send.bytes, send.num_bytes);
  }
  settle(one, end);
  settle(other, end);
}

}  // namespace

void Parking::wake() {
  // The empty section makes sure that the sleeper is either asleep or has yet to look.
  { const std::lock_guard lock(mutex_); }
  woken_.notify_all();
}

bool Mailbox::post(LocalMessage& message) {
  LocalMessage* partner = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    message.next = nullptr;
    if (first_ == nullptr || first_->is_send == message.is_send) {
      message.state.store(State::kPending, std::memory_order_relaxed);
      (first_ == nullptr ? first_ : last_->next) = &message;
      last_ = &message;
      return true;
    }
    partner = first_;
    first_ = partner->next;
    message.state.store(State::kCopying, std::memory_order_relaxed);
    partner->state.store(State::kCopying, std::memory_order_relaxed);
  }
  carry(message, *partner);
  return true;
}

void Mailbox::withdraw(LocalMessage& message) {
  {
    const std::lock_guard lock(mutex_);
    LocalMessage* before = nullptr;
    for (LocalMessage* at = first_; at != nullptr; before = at, at = at->next) {
      if (at != &message) continue;
      (before == nullptr ? first_ : before->next) = at->next;
      if (last_ == at) last_ = before;
      break;
    }
  }
  while (message.state.load(std::memory_order_acquire) == State::kCopying) {
    std::this_thread::yield();
  }
}

void Mailbox::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

}  // namespace halfpipe::transport
