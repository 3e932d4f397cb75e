// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/mpi_requests.h"

#include <fmt/format.h>

#include <limits>

#include "parallel/transport/mpi_error.h"

namespace halfpipe::transport {
namespace {

constexpr int kTag = 1;

}  // namespace

Request MpiRequests::add(bool is_send, int peer, std::size_t num_bytes) {
  if (num_bytes > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    throw RuntimeFailure(fmt::format(
        "a message of {} bytes is larger than MPI counts (2147483647 bytes); use a smaller "
        "micro-batch",
        num_bytes));
  }
  if (free_.empty()) {
    free_.push_back(static_cast<int>(entries_.size()));
    entries_.emplace_back();
    handles_.push_back(MPI_REQUEST_NULL);
    tested_.resize(entries_.size());
    statuses_.resize(entries_.size());
  }
  const int index = free_.back();
  free_.pop_back();
  entries_[static_cast<std::size_t>(index)] = {.state = State::kOutstanding,
                                               .is_send = is_send,
                                               .peer = peer,
                                               .num_bytes = static_cast<int>(num_bytes)};
  ++num_outstanding_;
  return {index};
}

Request MpiRequests::start_send(std::span<const std::byte> src, int dst_rank) {
  const Request request = add(/*is_send=*/true, dst_rank, src.size());
  MPI_Request& handle = handles_[static_cast<std::size_t>(request.index)];
  HALFPIPE_MPI_CHECK(MPI_Isend(src.data(), static_cast<int>(src.size()), MPI_BYTE, dst_rank, kTag,
                               comm_, &handle));
  return request;
}

Request MpiRequests::start_recv(std::span<std::byte> dst, int src_rank) {
  const Request request = add(/*is_send=*/false, src_rank, dst.size());
  MPI_Request& handle = handles_[static_cast<std::size_t>(request.index)];
  HALFPIPE_MPI_CHECK(MPI_Irecv(dst.data(), static_cast<int>(dst.size()), MPI_BYTE, src_rank, kTag,
                               comm_, &handle));
  return request;
}

int MpiRequests::test_all() {
  if (num_outstanding_ == 0) return 0;
  int num_completed = 0;
  const int code = MPI_Testsome(static_cast<int>(handles_.size()), handles_.data(), &num_completed,
                                tested_.data(), statuses_.data());
  if (code != MPI_ERR_IN_STATUS) HALFPIPE_MPI_CHECK(code);
  for (int i = 0; i < num_completed; ++i) {
    const MPI_Status& status = statuses_[static_cast<std::size_t>(i)];
    const auto index = static_cast<std::size_t>(tested_[static_cast<std::size_t>(i)]);
    Entry& done = entries_[index];
    done.state = State::kCompleted;
    // MPI fills in the error of each message only when it reports that there is one.
    if (code == MPI_ERR_IN_STATUS) done.error = status.MPI_ERROR;
    if (!done.is_send) MPI_Get_count(&status, MPI_BYTE, &done.arrived_bytes);
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
  entries_[static_cast<std::size_t>(request.index)].state = State::kFree;
  free_.push_back(request.index);
  int error_class = MPI_SUCCESS;
  if (done.error != MPI_SUCCESS) MPI_Error_class(done.error, &error_class);
  const bool wrong_size = !done.is_send && done.arrived_bytes != done.num_bytes;
  if (error_class == MPI_ERR_TRUNCATE || (error_class == MPI_SUCCESS && wrong_size)) {
    throw InternalError(fmt::format("receive of {} bytes, but rank {} named {} bytes",
                                    done.num_bytes, done.peer, done.arrived_bytes));
  }
  if (done.error != MPI_SUCCESS) {
    throw_mpi_error(done.error, done.is_send ? "MPI_Isend" : "MPI_Irecv", __FILE__, __LINE__);
  }
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
