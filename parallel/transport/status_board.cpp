// SPDX-License-Identifier: Apache-2.0
// The board as plain lock-free atomics: torn texts are tolerable, data races are not.
#include "parallel/transport/status_board.h"

#include <array>
#include <cstring>
#include <new>

#include "kernels/core/error.h"

namespace halfpipe::transport {
namespace {

constexpr std::size_t kTextWords = sizeof(RankStatus::text) / sizeof(std::uint64_t);
static_assert(kTextWords * sizeof(std::uint64_t) == sizeof(RankStatus::text));
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "the board crosses processes");

}  // namespace

struct StatusBoard::Header {
  std::atomic<std::int32_t> last_words_claimed{0};
  std::int32_t padding = 0;
};

struct StatusBoard::Slot {
  std::atomic<Life> life{Life::kAbsent};
  std::atomic<std::int32_t> rank{-1};
  std::atomic<std::int64_t> pid{0};
  std::atomic<std::int64_t> start_time{0};
  std::atomic<std::uint64_t> num_posts{0};
  std::atomic<std::int64_t> step{-1};
  std::atomic<std::int32_t> instruction{-1};
  std::atomic<std::int32_t> peer{-1};
  std::array<std::atomic<std::uint64_t>, kTextWords> text{};
  Doorbell doorbell;
};

std::size_t StatusBoard::bytes_for(int num_slots) {
  return sizeof(Header) + static_cast<std::size_t>(num_slots) * sizeof(Slot);
}

StatusBoard::StatusBoard(std::byte* memory, int num_slots)
    : header_(reinterpret_cast<Header*>(memory)),
      slots_(reinterpret_cast<Slot*>(memory + sizeof(Header))),
      num_slots_(num_slots) {}

StatusBoard StatusBoard::create(std::span<std::byte> memory, int num_slots) {
  StatusBoard board = attach(memory, num_slots);
  new (board.header_) Header;
  for (int slot = 0; slot < num_slots; ++slot) new (board.slots_ + slot) Slot;
  return board;
}

StatusBoard StatusBoard::attach(std::span<std::byte> memory, int num_slots) {
  HALFPIPE_CHECK(memory.size() >= bytes_for(num_slots), "the status board does not fit its memory");
  return {memory.data(), num_slots};
}

StatusBoard::Slot& StatusBoard::slot_at(int slot) const {
  HALFPIPE_CHECK(slot >= 0 && slot < num_slots_, "no such slot on the status board");
  return slots_[slot];
}

void StatusBoard::enter(int slot, int rank, const ProcessIdentity& process) {
  Slot& own = slot_at(slot);
  own.rank.store(rank, std::memory_order_relaxed);
  own.pid.store(process.pid, std::memory_order_relaxed);
  own.start_time.store(process.start_time, std::memory_order_relaxed);
  publish(slot, RankStatus{});
  own.life.store(Life::kRunning, std::memory_order_release);
}

void StatusBoard::publish(int slot, const RankStatus& status) {
  Slot& own = slot_at(slot);
  own.step.store(status.step, std::memory_order_relaxed);
  own.instruction.store(status.instruction, std::memory_order_relaxed);
  own.peer.store(status.peer, std::memory_order_relaxed);
  std::array<std::uint64_t, kTextWords> words{};
  std::memcpy(words.data(), status.text, sizeof(status.text));
  for (std::size_t i = 0; i < kTextWords; ++i) {
    own.text[i].store(words[i], std::memory_order_relaxed);
  }
  // One writer, so no read-modify-write is needed.
  own.num_posts.store(own.num_posts.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

void StatusBoard::leave(int slot, Life life) {
  slot_at(slot).life.store(life, std::memory_order_release);
}

Life StatusBoard::life(int slot) const {
  return slot_at(slot).life.load(std::memory_order_acquire);
}

RankReport StatusBoard::report(int slot) const {
  const Slot& other = slot_at(slot);
  RankReport report;
  report.life = other.life.load(std::memory_order_acquire);
  report.rank = other.rank.load(std::memory_order_relaxed);
  report.process = {other.pid.load(std::memory_order_relaxed),
                    other.start_time.load(std::memory_order_relaxed)};
  report.status.step = other.step.load(std::memory_order_relaxed);
  report.status.instruction = other.instruction.load(std::memory_order_relaxed);
  report.status.peer = other.peer.load(std::memory_order_relaxed);
  std::array<std::uint64_t, kTextWords> words{};
  for (std::size_t i = 0; i < kTextWords; ++i) {
    words[i] = other.text[i].load(std::memory_order_relaxed);
  }
  std::memcpy(report.status.text, words.data(), sizeof(report.status.text));
  report.status.text[sizeof(report.status.text) - 1] = '\0';
  return report;
}

Doorbell& StatusBoard::doorbell(int slot) const {
  return slot_at(slot).doorbell;
}

std::uint64_t StatusBoard::num_posts() const {
  std::uint64_t sum = 0;
  for (int slot = 0; slot < num_slots_; ++slot) {
    sum += slots_[slot].num_posts.load(std::memory_order_acquire);
  }
  return sum;
}

bool StatusBoard::claim_last_words() noexcept {
  return header_->last_words_claimed.exchange(1) == 0;
}

}  // namespace halfpipe::transport
