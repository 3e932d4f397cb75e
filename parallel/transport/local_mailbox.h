// SPDX-License-Identifier: Apache-2.0
// Messages between two ranks that are threads of one process: matched first in, first out, and
// copied once, from the sender's memory to the receiver's.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace halfpipe::transport {

/// Where one rank sleeps until another one wakes it.
class Parking {
 public:
  /// To be called after the change that the sleeper waits for.
  void wake();
  /// Sleeps until woken with `ready()` true, or for `longest`. Returns ready().
  template <typename Ready>
  bool sleep(const Ready& ready, std::chrono::steady_clock::duration longest) {
    std::unique_lock lock(mutex_);
    return woken_.wait_for(lock, longest, ready);
  }

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
};

/// One started send or receive. Its owner keeps it in place until it is settled or withdrawn.
struct LocalMessage {
  enum class State : std::uint8_t {
    kFree,
    kPending,   // waits in a mailbox for the other side
    kCopying,   // matched; somebody copies right now
    kDone,      // the bytes are across
    kMismatch,  // matched, but the two sides disagree about the size
  };
  std::atomic<State> state{State::kFree};
  bool is_send = false;
  std::byte* bytes = nullptr;  // never written for a send
  std::size_t num_bytes = 0;
  std::size_t partner_bytes = 0;  // what the other side named; known in kMismatch
  int peer = -1;
  Parking* owner = nullptr;
  LocalMessage* next = nullptr;

  [[nodiscard]] bool settled() const {
    const State now = state.load(std::memory_order_acquire);
    return now == State::kDone || now == State::kMismatch;
  }
};

/// The FIFO from one rank to another. Holds sends or receives, never both: whoever comes second
/// finds its partner and copies.
class Mailbox {
 public:
  /// Adds a message or matches it. False: the mailbox is closed.
  [[nodiscard]] bool post(LocalMessage& message);
  /// After this, nobody touches the message's bytes: it is taken out, or its copy has ended.
  void withdraw(LocalMessage& message);
  /// No message is matched from now on.
  void close();

 private:
  std::mutex mutex_;
  LocalMessage* first_ = nullptr;
  LocalMessage* last_ = nullptr;
  bool closed_ = false;
};

}  // namespace halfpipe::transport
