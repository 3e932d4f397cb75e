// SPDX-License-Identifier: Apache-2.0
// Ranks that are processes: every one of them runs all the tests, in the same order.
#include <gtest/gtest.h>

#include <cstdio>
#include <exception>
#include <memory>

#include "parallel/transport/mpi_session.h"
#include "tests/parallel/transport/transport_ranks.h"

namespace halfpipe::transport {
namespace {

MpiSession* session_or_null = nullptr;

/// Prints failures alone: one full report, that of rank 0, is enough.
class FailurePrinter final : public ::testing::EmptyTestEventListener {
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", session_or_null->rank(),
                 result.file_name() == nullptr ? "" : result.file_name(), result.line_number(),
                 result.message());
  }
};

}  // namespace

std::vector<int> world_sizes() {
  return {session_or_null->world_size()};
}

void on_every_rank(int /*world_size*/, const Body& body) {
  const std::unique_ptr<Transport> transport = session_or_null->make_transport(LossAction::kThrow);
  try {
    ImmediateStream stream;
    transport->set_timeout(20.0);
    body(*transport, stream);
  } catch (const std::exception& error) {
    ADD_FAILURE() << "rank " << transport->rank() << ": " << error.what();
  }
}

}  // namespace halfpipe::transport

int main(int argc, char** argv) {
  halfpipe::transport::MpiSession session;
  halfpipe::transport::session_or_null = &session;
  ::testing::InitGoogleTest(&argc, argv);
  if (session.rank() != 0) {
    auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new halfpipe::transport::FailurePrinter);
  }
  return RUN_ALL_TESTS();
}
