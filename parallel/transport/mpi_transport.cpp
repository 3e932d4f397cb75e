// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/mpi_transport.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <thread>

#include "parallel/transport/mpi_error.h"
#include "parallel/transport/rank_lost.h"

namespace halfpipe::transport {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kLookInterval = std::chrono::milliseconds(20);
/// A rank that said goodbye has handed its last messages to MPI; they may still be on their way.
/// About a second, in looks: time in which this process does not run does not count.
constexpr int kLooksAfterGoodbye = 50;
constexpr auto kSendIsPressing = std::chrono::milliseconds(20);
/// A message under way takes less, so one of another size behind it means a mismatch.
constexpr double kSecondsBeforeDoubt = 1.0;
/// How long a rank leaves the last word to the one that claimed it.
constexpr auto kTimeForLastWords = std::chrono::seconds(1);

MPI_Comm duplicate(MPI_Comm world) {
  MPI_Comm own = MPI_COMM_NULL;
  HALFPIPE_MPI_CHECK(MPI_Comm_dup(world, &own));
  HALFPIPE_MPI_CHECK(MPI_Comm_set_errhandler(own, MPI_ERRORS_RETURN));
  return own;
}

int rank_in(MPI_Comm comm) {
  int rank = 0;
  HALFPIPE_MPI_CHECK(MPI_Comm_rank(comm, &rank));
  return rank;
}

int size_of(MPI_Comm comm) {
  int size = 0;
  HALFPIPE_MPI_CHECK(MPI_Comm_size(comm, &size));
  return size;
}

}  // namespace

MpiTransport::MpiTransport(MPI_Comm world, LossAction loss_action)
    : loss_action_(loss_action),
      messages_(duplicate(world)),
      collectives_(duplicate(world)),
      rank_(rank_in(world)),
      world_size_(size_of(world)),
      exceptions_at_start_(std::uncaught_exceptions()),
      mpi_board_(collectives_),
      board_(mpi_board_.board()),
      own_slot_(mpi_board_.own_slot()),
      death_watch_(board_),
      spin_first_(cores_suffice(board_.num_slots())),
      requests_(messages_) {
  slot_of_rank_.assign(static_cast<std::size_t>(world_size_), kOtherHost);
  for (int slot = 0; slot < board_.num_slots(); ++slot) {
    slot_of_rank_[static_cast<std::size_t>(board_.report(slot).rank)] = slot;
  }
  progress_.emplace([this] { return progress_while_computing(); }, [this] { look_for_dead(); });
}

MpiTransport::~MpiTransport() {
  const bool failed = lost_ || std::uncaught_exceptions() > exceptions_at_start_;
  board_.leave(own_slot_, failed ? Life::kFailed : Life::kEnded);
  bool at_peace = false;
  try {
    at_peace = !failed && part_in_peace();
  } catch (const std::exception&) {
    at_peace = false;  // reported, or about to be: a destructor throws nothing
  }
  progress_.reset();
  requests_.abandon();
  if (!at_peace) return;  // freeing is collective, and somebody would be missing
  mpi_board_.free();
  MPI_Comm_free(&messages_);
  MPI_Comm_free(&collectives_);
}

/// The last collective: until it ends, other ranks may need this one to move their messages. False
/// when a rank is missing.
bool MpiTransport::part_in_peace() {
  MPI_Request handle = MPI_REQUEST_NULL;
  // On a communicator of its own as far as collectives go: nobody else's barrier may match it.
  HALFPIPE_MPI_CHECK(MPI_Ibarrier(messages_, &handle));
  const WaitSubject subject{.rank = rank_, .world_size = world_size_, .what = "goodbye"};
  Nap nap(spin_first_);
  StallClock clock(board_, timeout_seconds_);
  auto next_look = Clock::now() + kLookInterval;
  for (;;) {
    int done = 0;
    HALFPIPE_MPI_CHECK(MPI_Test(&handle, &done, MPI_STATUS_IGNORE));
    if (done != 0) return true;
    nap.pause();
    if (Clock::now() < next_look) continue;
    next_look = Clock::now() + kLookInterval;
    if (clock.stalled()) lose(stall_message(board_, subject, clock.seconds()));
    for (int slot = 0; slot < board_.num_slots(); ++slot) {
      if (lost_ || board_.life(slot) == Life::kFailed) return false;
    }
  }
}

// ---- messages ----

Request MpiTransport::send(std::span<const std::byte> src, int dst_rank, device::Stream& stream) {
  HALFPIPE_CHECK(dst_rank >= 0 && dst_rank < world_size_,
                 fmt::format("there is no rank {}", dst_rank));
  throw_if_lost();
  stream.synchronize();
  Request request;
  {
    const std::lock_guard lock(mutex_);
    request = requests_.start_send(src, dst_rank);
    last_send_ = Clock::now();
  }
  ring(dst_rank);
  progress_->wake();
  return request;
}

Request MpiTransport::post_recv(std::span<std::byte> dst, int src_rank, device::Stream& stream) {
  HALFPIPE_CHECK(src_rank >= 0 && src_rank < world_size_,
                 fmt::format("there is no rank {}", src_rank));
  throw_if_lost();
  stream.synchronize();
  Request request;
  {
    const std::lock_guard lock(mutex_);
    request = requests_.start_recv(dst, src_rank);
  }
  progress_->wake();
  return request;
}

void MpiTransport::wait(Request request, device::Stream& stream) {
  (void)wait_until(request, stream, Clock::time_point::max());
}

bool MpiTransport::wait_until(Request request,
                              device::Stream& /*stream*/,
                              Clock::time_point deadline) {
  WaitSubject subject{.rank = rank_, .world_size = world_size_, .what = {}};
  {
    const std::lock_guard lock(mutex_);
    subject.peer = requests_.peer(request);
    subject.what = requests_.is_send(request) ? "send" : "receive";
  }
  const bool done = block(
      subject, announcement_of(request),
      [&] {
        const std::lock_guard lock(mutex_);
        return requests_.test(request);
      },
      request, deadline);
  if (!done) return false;
  const std::lock_guard lock(mutex_);
  requests_.finish(request);
  return true;
}

bool MpiTransport::watch_until(std::string_view what,
                               int peer,
                               const std::function<bool()>& done,
                               Clock::time_point deadline) {
  // Messages under way go on, which others may wait for.
  const auto looks = [&] {
    if (done()) return true;
    const std::lock_guard lock(mutex_);
    requests_.test_some();
    return false;
  };
  return block({.rank = rank_, .world_size = world_size_, .peer = peer, .what = what},
               Nap::Until::kLooked, looks, {}, deadline);
}

void MpiTransport::finish_collective(MPI_Request handle, std::string_view what) {
  const WaitSubject subject{.rank = rank_, .world_size = world_size_, .peer = -1, .what = what};
  block(subject, Nap::Until::kLooked, [&] {
    int done = 0;
    HALFPIPE_MPI_CHECK(MPI_Test(&handle, &done, MPI_STATUS_IGNORE));
    return done != 0;
  });
}

// ---- waiting and watching ----

/// While it lives, the rank tests for itself; afterwards the progress thread does.
class MpiTransport::WaitingScope {
 public:
  explicit WaitingScope(MpiTransport& transport) : transport_(transport) {
    transport_.waiting_ = true;
  }
  ~WaitingScope() {
    transport_.waiting_ = false;
    transport_.progress_->wake();
  }
  WaitingScope(const WaitingScope&) = delete;
  WaitingScope& operator=(const WaitingScope&) = delete;

 private:
  MpiTransport& transport_;
};

void MpiTransport::ring(int rank) {
  const int slot = slot_of_rank_[static_cast<std::size_t>(rank)];
  if (slot != kOtherHost) board_.doorbell(slot).ring();
}

Nap::Until MpiTransport::announcement_of(Request request) {
  // A longer message may need more than its announcement, and a send rings for its receiver alone.
  constexpr std::size_t kShortBytes = 2048;
  const std::lock_guard lock(mutex_);
  const auto peer = static_cast<std::size_t>(requests_.peer(request));
  const bool rung = !requests_.is_send(request) && requests_.num_bytes(request) <= kShortBytes &&
                    slot_of_rank_[peer] != kOtherHost;
  return rung ? Nap::Until::kRung : Nap::Until::kLooked;
}

template <typename Done>
bool MpiTransport::block(const WaitSubject& subject,
                         Nap::Until until,
                         const Done& done,
                         Request request,
                         Clock::time_point deadline) {
  throw_if_lost();
  if (done()) return true;
  const WaitingScope scope(*this);
  Doorbell& doorbell = board_.doorbell(own_slot_);
  Nap nap(spin_first_, until);
  StallClock clock(board_, timeout_seconds_);
  int looks_after_goodbye = 0;
  auto next_look = Clock::now() + kLookInterval;
  for (;;) {
    const std::uint32_t rings = doorbell.rings();
    if (done()) return true;
    const std::chrono::duration<double, std::micro> to_deadline = deadline - Clock::now();
    const double sleep = std::min(nap.next_sleep_us(), to_deadline.count());
    if (sleep > 0.0) doorbell.listen(rings, sleep);
    const auto now = Clock::now();
    if (now >= deadline) return done();
    if (now < next_look) continue;
    next_look = now + kLookInterval;
    throw_if_lost();
    const bool stalled = clock.stalled();
    const auto left = find_left(board_, subject);
    looks_after_goodbye += left ? 1 : 0;
    if (done()) return true;
    if (looks_after_goodbye >= kLooksAfterGoodbye) lose(left_message(board_, subject, *left));
    if (stalled) lose(stall_message(board_, subject, clock.seconds()));
    if (request.index >= 0) check_size(request, clock, subject);
  }
}

void MpiTransport::check_size(Request request,
                              const StallClock& clock,
                              const WaitSubject& subject) {
  if (clock.seconds() < kSecondsBeforeDoubt) return;
  // The transfer of a rank that is stopped may stand still with later messages visible behind it.
  const auto slot = slot_of(board_, subject.peer);
  if (slot && state_of(board_.report(*slot).process) != ProcessState::kAlive) return;
  const std::lock_guard lock(mutex_);
  requests_.check_size(request);
}

Progress MpiTransport::progress_while_computing() {
  if (waiting_ || lost_) return Progress::kIdle;
  const std::lock_guard lock(mutex_);
  if (requests_.num_outstanding() == 0) return Progress::kIdle;
  requests_.test_some();
  // Where a process may not read another one's memory, a long message moves only with its sender's
  // help. A message that finds no receive for so long has time.
  const bool sending = Clock::now() - last_send_ < kSendIsPressing;
  return sending ? Progress::kPressing : Progress::kWaiting;
}

void MpiTransport::look_for_dead() {
  if (lost_) return;
  const auto dead = death_watch_.find_dead();
  if (!dead) return;
  try {
    lose(death_message(board_, *dead, world_size_));
  } catch (const RankLost&) {
    // Kept in loss_: the rank's next or present call throws it.
  }
}

/// Says once per host why the job ends, and ends it. The launcher kills the ranks soon after one of
/// them has died, so this does not wait for the rank's own thread.
void MpiTransport::lose(const std::string& message) {
  if (loss_action_ == LossAction::kThrow) {
    const std::lock_guard lock(mutex_);
    if (!lost_) loss_ = message;
    lost_ = true;
    throw RankLost(loss_);
  }
  if (board_.claim_last_words()) {
    const std::string text = "halfpipe: error: " + message + "\n";
    // One write, so that lines of other ranks do not come between; nothing can be done if it fails.
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
  } else {
    std::this_thread::sleep_for(kTimeForLastWords);
  }
  abort(1);
  std::_Exit(1);
}

void MpiTransport::throw_if_lost() {
  if (!lost_) return;
  const std::lock_guard lock(mutex_);
  throw RankLost(loss_);
}

void MpiTransport::abort(int exit_code) noexcept {
  // The caller has said why; the others must not take this rank's end for a death of its own.
  (void)board_.claim_last_words();
  MPI_Abort(messages_, exit_code);
}

}  // namespace halfpipe::transport
