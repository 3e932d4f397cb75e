// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>
#include <limits>

#include "parallel/transport/nap.h"

namespace halfpipe::transport {

static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "a futex is a word");

void Doorbell::ring() noexcept {
  // Either the listener sees the new number, or this sees the listener: both orders are
  // sequentially consistent.
  rings_.fetch_add(1);
  if (num_listeners_.load() <= 0) return;
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&rings_), FUTEX_WAKE,
            std::numeric_limits<int>::max(), nullptr, nullptr, 0);
}

void Doorbell::listen(std::uint32_t seen, double microseconds) noexcept {
  sleep_exactly();
  num_listeners_.fetch_add(1);
  const timespec duration{0, static_cast<long>(microseconds * 1e3)};
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&rings_), FUTEX_WAIT, seen, &duration,
            nullptr, 0);
  num_listeners_.fetch_sub(1);
}

}  // namespace halfpipe::transport
