// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/stream_queue.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "tests/cuda_emulation/graph_capture.h"
#include "tests/cuda_emulation/memory.h"
#include "tests/cuda_emulation/schedule.h"

namespace halfpipe::cuda_emulation {

/// One stream's work; guarded by the mutex of all.
class Queue {
 public:
  explicit Queue(unsigned number) : number_(number) {}

  [[nodiscard]] unsigned number() const { return number_; }
  [[nodiscard]] std::uint64_t num_enqueued() const { return num_done_ + entries_.size(); }
  [[nodiscard]] std::uint64_t num_done() const { return num_done_; }

  void push(std::string name, std::function<bool()> attempt) {
    entries_.push_back({std::move(name), std::move(attempt), {}});
  }
  void push_wait(const Mark& mark) { entries_.push_back({"", nullptr, mark}); }

  /// Marks are of work enqueued earlier: queues that wait for each other cannot form a circle.
  /// False when the position cannot be reached yet.
  bool run_until(std::uint64_t position) {
    while (num_done_ < position) {
      if (const Mark& before = entries_.front().wait; before.queue_or_null != nullptr) {
        if (!before.queue_or_null->run_until(before.position)) return false;
      }
      Entry& front = entries_.front();
      if (front.attempt) {
        if (!front.attempt()) return false;
        check_guards(front.name);
      }
      entries_.pop_front();
      ++num_done_;
    }
    return true;
  }

 private:
  struct Entry {
    std::string name;
    std::function<bool()> attempt;  // null: a wait
    Mark wait;
  };

  unsigned number_;
  std::uint64_t num_done_ = 0;
  std::deque<Entry> entries_;
};

}  // namespace halfpipe::cuda_emulation

struct CUstream_st {
  std::shared_ptr<halfpipe::cuda_emulation::Queue> queue;
  bool is_capturing = false;
  std::vector<halfpipe::cuda_emulation::CapturedWork> captured = {};
};

namespace halfpipe::cuda_emulation {
namespace {

constexpr std::uint32_t kNumPatterns = 6;  // of streams that run ahead

struct Streams {
  std::mutex mutex;
  CUstream_st null_stream{std::make_shared<Queue>(0)};
  std::vector<std::shared_ptr<Queue>> queues{null_stream.queue};
  std::minstd_rand random;
};

// Never destroyed: other static objects may use streams at the process's end.
Streams& streams() {
  static auto* instance = new Streams;
  return *instance;
}

Queue& queue_of(cudaStream_t stream, Streams& all) {
  return stream == nullptr ? *all.null_stream.queue : *stream->queue;
}

bool runs_ahead(const Queue& queue, const Schedule& schedule) {
  switch (schedule.order) {
    case Order::kForward:
      return false;
    case Order::kReverse:
      return true;
    case Order::kShuffled:
      break;
  }
  return schedule.seed < kNumPatterns &&
         (queue.number() >> (schedule.seed / 2) & 1U) == schedule.seed % 2;
}

/// Runs what the schedule wants to have run by now.
void run_ahead(Streams& all) {
  const Schedule schedule = current_schedule();
  const bool at_random = schedule.order == Order::kShuffled && schedule.seed >= kNumPatterns;
  // A copy: work that runs may not make streams, but is not asked to prove it.
  for (const auto& queue : std::vector(all.queues)) {
    std::uint64_t position = queue->num_done();
    if (runs_ahead(*queue, schedule)) position = queue->num_enqueued();
    if (at_random) position += all.random() % (queue->num_enqueued() - position + 1);
    queue->run_until(position);
  }
}

void run_all(Streams& all) {
  // The last stream first: enough of them in an order that nobody wrote down.
  const auto queues = all.queues;
  for (auto queue = queues.rbegin(); queue != queues.rend(); ++queue) {
    (*queue)->run_until((*queue)->num_enqueued());
  }
}

/// Where it needs others, with pauses in which they get the lock.
void run_until(Queue& queue,
               std::uint64_t position,
               Streams& all,
               std::unique_lock<std::mutex>& lock) {
  while (!queue.run_until(position)) {
    run_all(all);
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    lock.lock();
  }
}

}  // namespace

cudaStream_t make_stream() {
  Streams& all = streams();
  const std::lock_guard lock(all.mutex);
  // The lowest free number: patterns by number are then the same for every test of a process.
  unsigned number = 0;
  const auto is_taken = [&] {
    return std::any_of(all.queues.begin(), all.queues.end(),
                       [&](const auto& queue) { return queue->number() == number; });
  };
  while (is_taken()) ++number;
  all.queues.push_back(std::make_shared<Queue>(number));
  return new CUstream_st{all.queues.back()};
}

void destroy_stream(cudaStream_t stream) {
  Streams& all = streams();
  std::unique_lock lock(all.mutex);
  run_until(*stream->queue, stream->queue->num_enqueued(), all, lock);
  std::erase(all.queues, stream->queue);
  delete stream;
}

void enqueue(cudaStream_t stream, std::string name, std::function<void()> work) {
  enqueue_attempts(stream, std::move(name), [work = std::move(work)] {
    work();
    return true;
  });
}

void enqueue_attempts(cudaStream_t stream, std::string name, std::function<bool()> attempt) {
  Streams& all = streams();
  const std::lock_guard lock(all.mutex);
  if (stream != nullptr && stream->is_capturing) {
    stream->captured.push_back({std::move(name), std::move(attempt)});
    return;
  }
  queue_of(stream, all).push(std::move(name), std::move(attempt));
  run_ahead(all);
}

void begin_capture(cudaStream_t stream) {
  const std::lock_guard lock(streams().mutex);
  stream->is_capturing = true;
}

bool is_capturing(cudaStream_t stream) {
  const std::lock_guard lock(streams().mutex);
  return stream != nullptr && stream->is_capturing;
}

std::vector<CapturedWork> end_capture(cudaStream_t stream) {
  const std::lock_guard lock(streams().mutex);
  stream->is_capturing = false;
  return std::exchange(stream->captured, {});
}

void enqueue_wait(cudaStream_t stream, const Mark& mark) {
  if (mark.queue_or_null == nullptr) return;
  Streams& all = streams();
  const std::lock_guard lock(all.mutex);
  queue_of(stream, all).push_wait(mark);
  run_ahead(all);
}

Mark mark_end(cudaStream_t stream) {
  Streams& all = streams();
  const std::lock_guard lock(all.mutex);
  const auto& queue = stream == nullptr ? all.null_stream.queue : stream->queue;
  return {queue, queue->num_enqueued()};
}

void finish(const Mark& mark) {
  if (mark.queue_or_null == nullptr) return;
  Streams& all = streams();
  std::unique_lock lock(all.mutex);
  run_ahead(all);
  run_until(*mark.queue_or_null, mark.position, all, lock);
}

void finish_all() {
  Streams& all = streams();
  std::unique_lock lock(all.mutex);
  run_ahead(all);
  run_all(all);
  for (const auto& queue : std::vector(all.queues)) {
    run_until(*queue, queue->num_enqueued(), all, lock);
  }
}

void use_code(const void* code) {
  static const bool is_lazy = std::getenv("HALFPIPE_EMULATION_LAZY_LOADING") != nullptr;
  if (!is_lazy) return;
  static std::mutex mutex;
  static std::set<const void*> loaded;
  {
    const std::lock_guard lock(mutex);
    if (!loaded.insert(code).second) return;
  }
  // Loading inside of a capture spoils it, which EndCapture then says.
  if (check_thread_captures_nothing() != cudaSuccess) return;
  finish_all();
}

bool is_reached(const Mark& mark) {
  if (mark.queue_or_null == nullptr) return true;
  Streams& all = streams();
  const std::lock_guard lock(all.mutex);
  run_ahead(all);
  Queue& queue = *mark.queue_or_null;
  if (queue.num_done() >= mark.position) return true;
  // Half of what is missing: who asks again and again need not ask for each kernel.
  const std::uint64_t part = (mark.position - queue.num_done() + 1) / 2;
  if (!queue.run_until(queue.num_done() + part)) run_all(all);
  return false;
}

}  // namespace halfpipe::cuda_emulation
