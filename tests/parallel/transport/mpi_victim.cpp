// SPDX-License-Identifier: Apache-2.0
// A rank of a small job that never ends by itself, for mpi_interrupted_test: each step it computes
// for a while, exchanges messages with its neighbours and meets the others. Its argument is the
// timeout in seconds.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "kernels/core/error.h"
#include "parallel/transport/mpi_session.h"
#include "parallel/transport/process_state.h"
#include "tests/parallel/transport/transport_ranks.h"

namespace halfpipe::transport {
namespace {

/// As the trainer does: SIGTERM is noted, it does not kill.
void note_signal(int /*signal*/) {}

void say(RankStatus& status, int instruction, int peer, const char* text) {
  status.instruction = instruction;
  status.peer = peer;
  std::snprintf(status.text, sizeof(status.text), "%s", text);
}

void run_step(Transport& transport, device::Stream& stream, std::int64_t step) {
  const int n = transport.world_size();
  const int previous = (transport.rank() + n - 1) % n;
  std::vector<std::byte> sent(100'000);
  std::vector<std::byte> received(sent.size());
  RankStatus status{.step = step};
  const Request receive = transport.post_recv(received, previous, stream);
  const Request send = transport.send(sent, (transport.rank() + 1) % n, stream);
  say(status, 2, -1, "forward of micro-batch 3");
  transport.publish(status);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  say(status, 3, previous, "wait_recv activation of micro-batch 3");
  transport.publish(status);
  transport.wait(receive, stream);
  transport.wait(send, stream);
}

void run(Transport& transport, double timeout_seconds) {
  ImmediateStream stream;
  transport.set_timeout(timeout_seconds);
  for (std::int64_t step = 1;; ++step) {
    run_step(transport, stream, step);
    if (step != 5) continue;
    std::printf("rank %d runs as process %d\n", transport.rank(),
                static_cast<int>(this_process().pid));
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace halfpipe::transport

int main(int argc, char** argv) {
  std::signal(SIGTERM, halfpipe::transport::note_signal);
  halfpipe::transport::MpiSession session;
  try {
    const auto transport = session.make_transport();
    halfpipe::transport::run(*transport, argc > 1 ? std::atof(argv[1]) : 0.0);
  } catch (const halfpipe::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    session.abort(error.exit_code());
  }
  return 0;
}
