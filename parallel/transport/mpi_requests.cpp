// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/mpi_requests.h"

#include <fmt/format.h>

#include <string>

#include "parallel/transport/mpi_error.h"

namespace halfpipe::transport {
namespace {

/// The tag says the size, so that a message never meets a receive of another size: Open MPI 4.1
/// writes beyond the end of a receive that is too short (seen with CMA on messages over 4 KB).
/// Messages of one size keep their order; a valid plan has no others at the head of the FIFO.
int tag_of(std::size_t num_bytes) {
  constexpr std::uint64_t kLargePrime = 0x9E3779B97F4A7C15;  // spreads powers of two
  constexpr std::uint64_t kNumTags = 32749;  // MPI promises tags up to 32767; a prime below
  return static_cast<int>((num_bytes * kLargePrime >> 16U) % kNumTags);
}

std::string mismatch(std::size_t own_bytes, int peer, std::size_t peer_bytes) {
  return fmt::format("receive of {} bytes, but rank {} sent {} bytes", own_bytes, peer, peer_bytes);
}

}  // namespace

Request MpiRequests::add(bool is_send, int peer, std::size_t num_bytes) {
  if (free_.empty()) {
    free_.push_back(static_cast<int>(entries_.size()));
    entries_.emplace_back();
    handles_.push_back(MPI_REQUEST_NULL);
    tested_.resize(entries_.size());
    statuses_.resize(entries_.size());
  }
  const int index = free_.back();
  free_.pop_back();
  entries_[static_cast<std::size_t>(index)] = {
      .state = State::kOutstanding, .is_send = is_send, .peer = peer, .num_bytes = num_bytes};
  ++num_outstanding_;
  return {index};
}

Request MpiRequests::start_send(std::span<const std::byte> src, int dst_rank) {
  const Request request = add(/*is_send=*/true, dst_rank, src.size());
  const MpiByteTypes::Elements elements = types_.elements_of(src.size());
  MPI_Request& handle = handles_[static_cast<std::size_t>(request.index)];
  HALFPIPE_MPI_CHECK(MPI_Isend(src.data(), elements.count, elements.type, dst_rank,
                               tag_of(src.size()), comm_, &handle));
  return request;
}

Request MpiRequests::start_recv(std::span<std::byte> dst, int src_rank) {
  const Request request = add(/*is_send=*/false, src_rank, dst.size());
  const MpiByteTypes::Elements elements = types_.elements_of(dst.size());
  MPI_Request& handle = handles_[static_cast<std::size_t>(request.index)];
  HALFPIPE_MPI_CHECK(MPI_Irecv(dst.data(), elements.count, elements.type, src_rank,
                               tag_of(dst.size()), comm_, &handle));
  return request;
}

int MpiRequests::test_all() {
  if (num_outstanding_ == 0) return 0;
  int num_completed = 0;
  const auto test = [&] {
    return MPI_Testsome(static_cast<int>(handles_.size()), handles_.data(), &num_completed,
                        tested_.data(), statuses_.data());
  };
  int code = test();
  // Open MPI looks for news only when it knows of none, and tells them with the next call.
  if (code == MPI_SUCCESS && num_completed == 0) code = test();
  if (code != MPI_ERR_IN_STATUS) HALFPIPE_MPI_CHECK(code);
  for (int i = 0; i < num_completed; ++i) {
    const MPI_Status& status = statuses_[static_cast<std::size_t>(i)];
    const auto index = static_cast<std::size_t>(tested_[static_cast<std::size_t>(i)]);
    Entry& done = entries_[index];
    done.state = State::kCompleted;
    // MPI fills in the error of each message only when it reports that there is one.
    if (code == MPI_ERR_IN_STATUS) done.error = status.MPI_ERROR;
    if (!done.is_send) done.arrived_bytes = arrived_bytes(status);
    handles_[index] = MPI_REQUEST_NULL;
    --num_outstanding_;
  }
  return num_completed;
}

bool MpiRequests::completed(Request request) const {
  return entry(request).state == State::kCompleted;
}

void MpiRequests::finish(Request request) {
  const Entry done = entry(request);
  HALFPIPE_CHECK(done.state == State::kCompleted, "only a completed request is finished");
  forget(request);
  int error_class = MPI_SUCCESS;
  if (done.error != MPI_SUCCESS) MPI_Error_class(done.error, &error_class);
  const bool wrong_size = !done.is_send && done.arrived_bytes != done.num_bytes;
  if (error_class == MPI_ERR_TRUNCATE || (error_class == MPI_SUCCESS && wrong_size)) {
    throw InternalError(mismatch(done.num_bytes, done.peer, done.arrived_bytes));
  }
  if (done.error != MPI_SUCCESS) {
    throw_mpi_error(done.error, done.is_send ? "MPI_Isend" : "MPI_Irecv", __FILE__, __LINE__);
  }
}

void MpiRequests::forget(Request request) {
  entries_[static_cast<std::size_t>(request.index)].state = State::kFree;
  free_.push_back(request.index);
}

void MpiRequests::check_size(Request request) {
  const Entry expected = entry(request);
  if (expected.is_send || expected.state != State::kOutstanding) return;
  int found = 0;
  MPI_Status status;
  HALFPIPE_MPI_CHECK(MPI_Iprobe(expected.peer, MPI_ANY_TAG, comm_, &found, &status));
  if (found == 0) return;
  const std::size_t sent_bytes = arrived_bytes(status);
  if (sent_bytes == expected.num_bytes) return;
  MPI_Request& handle = handles_[static_cast<std::size_t>(request.index)];
  MPI_Cancel(&handle);
  MPI_Request_free(&handle);
  --num_outstanding_;
  forget(request);
  throw InternalError(mismatch(expected.num_bytes, expected.peer, sent_bytes));
}

void MpiRequests::abandon() {
  for (std::size_t index = 0; index < handles_.size(); ++index) {
    if (handles_[index] == MPI_REQUEST_NULL) continue;
    if (!entries_[index].is_send) MPI_Cancel(&handles_[index]);
    MPI_Request_free(&handles_[index]);
  }
  num_outstanding_ = 0;
}

const MpiRequests::Entry& MpiRequests::entry(Request request) const {
  const auto index = static_cast<std::size_t>(request.index);
  HALFPIPE_CHECK(
      request.index >= 0 && index < entries_.size() && entries_[index].state != State::kFree,
      "a request is waited for exactly once");
  return entries_[index];
}

}  // namespace halfpipe::transport
