// SPDX-License-Identifier: Apache-2.0
// The streams of the device. Work runs on the host thread that waits for it or enqueues something,
// as late or as early as the schedule says: a missing wait between two streams then reads memory
// before it is written, or after it is overwritten, in one of the schedules.
//   forward     only when something waits for it
//   reverse     as soon as it is enqueued
//   shuffled:s  s < 6: streams with bit s / 2 of their number equal to s % 2 as in reverse, the
//               others as in forward; else a random part of what is enqueued, at each call
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/cuda_emulation/runtime_api.h"

namespace halfpipe::cuda_emulation {

class Queue;

/// A position in a stream. The stream may be destroyed before: the queue is then empty, and the
/// mark reached; that is why it is shared.
struct Mark {
  std::shared_ptr<Queue> queue_or_null;  // null: reached
  std::uint64_t position = 0;
};

[[nodiscard]] cudaStream_t make_stream();
/// After all of its work.
void destroy_stream(cudaStream_t stream);

/// `name` is for messages. The null stream is one like the others.
void enqueue(cudaStream_t stream, std::string name, std::function<void()> work);
/// Work that others have to make possible: it is attempted until it returns true. Where a thread
/// waits for it, all streams go on, as those of a GPU do.
void enqueue_attempts(cudaStream_t stream, std::string name, std::function<bool()> attempt);
/// From now on what the stream is given is kept and not run; what waits for it is refused by its
/// caller.
void begin_capture(cudaStream_t stream);
[[nodiscard]] bool is_capturing(cudaStream_t stream);
/// What was kept: each piece can be enqueued as often as one likes.
struct CapturedWork {
  std::string name;
  std::function<bool()> attempt;
};
[[nodiscard]] std::vector<CapturedWork> end_capture(cudaStream_t stream);
/// Work enqueued later on this stream runs after the mark.
void enqueue_wait(cudaStream_t stream, const Mark& mark);
/// After the work enqueued so far.
[[nodiscard]] Mark mark_end(cudaStream_t stream);

/// Does the work before the mark.
void finish(const Mark& mark);
void finish_all();
/// With HALFPIPE_EMULATION_LAZY_LOADING=1 in the environment, what `code` does for the first time
/// waits for all that was enqueued, as a GPU may when it loads the code.
void use_code(const void* code);
/// Without waiting; a host that asks again and again sees it become true.
[[nodiscard]] bool is_reached(const Mark& mark);

}  // namespace halfpipe::cuda_emulation
