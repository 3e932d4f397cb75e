// SPDX-License-Identifier: Apache-2.0
// The started messages of one rank over MPI.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "parallel/transport/mpi_byte_types.h"
#include "parallel/transport/transport.h"

namespace halfpipe::transport {

/// A table of MPI requests, tested all at once. Not thread-safe: the transport locks it.
class MpiRequests {
 public:
  /// `comm` returns errors and carries these messages alone.
  explicit MpiRequests(MPI_Comm comm, std::size_t longest_plain = MpiByteTypes::kLongestPlain)
      : comm_(comm), types_(longest_plain) {}

  [[nodiscard]] Request start_send(std::span<const std::byte> src, int dst_rank);
  [[nodiscard]] Request start_recv(std::span<std::byte> dst, int src_rank);
  /// Lets MPI progress; returns how many messages have completed since the last time.
  int test_all();
  [[nodiscard]] bool completed(Request request) const;
  /// Gives the place in the table back. Throws what went wrong with the message.
  void finish(Request request);
  /// For a receive that has not completed for long: throws when the peer has sent a message of
  /// another size instead.
  void check_size(Request request);
  /// Lets go of everything outstanding, when nobody will wait for it any more.
  void abandon();

  [[nodiscard]] int num_outstanding() const { return num_outstanding_; }
  [[nodiscard]] int peer(Request request) const { return entry(request).peer; }
  [[nodiscard]] std::size_t num_bytes(Request request) const { return entry(request).num_bytes; }
  [[nodiscard]] bool is_send(Request request) const { return entry(request).is_send; }

 private:
  enum class State : std::uint8_t { kFree, kOutstanding, kCompleted };
  struct Entry {
    State state = State::kFree;
    bool is_send = false;
    int peer = -1;
    std::size_t num_bytes = 0;
    std::size_t arrived_bytes = 0;
    int error = MPI_SUCCESS;
  };
  void forget(Request request);
  [[nodiscard]] Request add(bool is_send, int peer, std::size_t num_bytes);
  [[nodiscard]] const Entry& entry(Request request) const;

  MPI_Comm comm_;
  MpiByteTypes types_;
  int num_outstanding_ = 0;
  std::vector<Entry> entries_;
  std::vector<MPI_Request> handles_;  // beside entries_; MPI_REQUEST_NULL when not outstanding
  std::vector<int> free_;
  std::vector<int> tested_;  // scratch of test_all
  std::vector<MPI_Status> statuses_;
};

}  // namespace halfpipe::transport
