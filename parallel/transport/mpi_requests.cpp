// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/mpi_requests.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
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

Request MpiRequests::add(const Entry& entry, MPI_Request handle) {
  if (free_.empty()) {
    free_.push_back(static_cast<int>(entries_.size()));
    entries_.emplace_back();
  }
  const int index = free_.back();
  free_.pop_back();
  Entry& added = entries_[static_cast<std::size_t>(index)];
  added = entry;
  added.state = State::kOutstanding;
  added.position = handles_.size();
  handles_.push_back(handle);
  owners_.push_back(index);
  return {index};
}

Request MpiRequests::start_send(std::span<const std::byte> src, int dst_rank) {
  const MpiByteTypes::Elements elements = types_.elements_of(src.size());
  MPI_Request handle = MPI_REQUEST_NULL;
  HALFPIPE_MPI_CHECK(MPI_Isend(src.data(), elements.count, elements.type, dst_rank,
                               tag_of(src.size()), comm_, &handle));
  return add({.is_send = true, .peer = dst_rank, .num_bytes = src.size()}, handle);
}

Request MpiRequests::start_recv(std::span<std::byte> dst, int src_rank) {
  const MpiByteTypes::Elements elements = types_.elements_of(dst.size());
  MPI_Request handle = MPI_REQUEST_NULL;
  HALFPIPE_MPI_CHECK(MPI_Irecv(dst.data(), elements.count, elements.type, src_rank,
                               tag_of(dst.size()), comm_, &handle));
  return add({.is_send = false, .peer = src_rank, .num_bytes = dst.size()}, handle);
}

bool MpiRequests::test(Request request) {
  if (entry(request).state == State::kOutstanding) test(entry(request).position, 1);
  return completed(request);
}

void MpiRequests::test_some() {
  if (handles_.empty()) return;
  if (next_tested_ >= handles_.size()) next_tested_ = 0;
  const std::size_t count = std::min(kMostTested, handles_.size() - next_tested_);
  test(next_tested_, count);
  next_tested_ += count;
}

void MpiRequests::test(std::size_t first, std::size_t count) {
  std::array<int, kMostTested> tested;
  std::array<MPI_Status, kMostTested> statuses;
  int num_completed = 0;
  const auto test = [&] {
    return MPI_Testsome(static_cast<int>(count), handles_.data() + first, &num_completed,
                        tested.data(), statuses.data());
  };
  int code = test();
  // Open MPI looks for news only when it knows of none, and tells them with the next call.
  if (code == MPI_SUCCESS && num_completed == 0) code = test();
  if (code != MPI_ERR_IN_STATUS) HALFPIPE_MPI_CHECK(code);
  for (int i = 0; i < num_completed; ++i) {
    const MPI_Status& status = statuses[static_cast<std::size_t>(i)];
    const std::size_t position =
        first + static_cast<std::size_t>(tested[static_cast<std::size_t>(i)]);
    Entry& done = entries_[static_cast<std::size_t>(owners_[position])];
    done.state = State::kCompleted;
    // MPI fills in the error of each message only when it reports that there is one.
    if (code == MPI_ERR_IN_STATUS) done.error = status.MPI_ERROR;
    if (!done.is_send) done.arrived_bytes = arrived_bytes(status);
    handles_[position] = MPI_REQUEST_NULL;
  }
  if (num_completed <= 0) return;
  // From behind: what takes a place has been looked at, or was not tested.
  for (std::size_t position = first + count; position-- > first;) {
    if (handles_[position] == MPI_REQUEST_NULL) drop_handle(position);
  }
}

/// The last one takes its place.
void MpiRequests::drop_handle(std::size_t position) {
  handles_[position] = handles_.back();
  owners_[position] = owners_.back();
  entries_[static_cast<std::size_t>(owners_[position])].position = position;
  handles_.pop_back();
  owners_.pop_back();
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
  MPI_Request& handle = handles_[expected.position];
  MPI_Cancel(&handle);
  MPI_Request_free(&handle);
  drop_handle(expected.position);
  forget(request);
  throw InternalError(mismatch(expected.num_bytes, expected.peer, sent_bytes));
}

void MpiRequests::abandon() {
  for (std::size_t i = 0; i < handles_.size(); ++i) {
    if (!entries_[static_cast<std::size_t>(owners_[i])].is_send) MPI_Cancel(&handles_[i]);
    MPI_Request_free(&handles_[i]);
  }
  handles_.clear();
  owners_.clear();
}

const MpiRequests::Entry& MpiRequests::entry(Request request) const {
  const auto index = static_cast<std::size_t>(request.index);
  HALFPIPE_CHECK(
      request.index >= 0 && index < entries_.size() && entries_[index].state != State::kFree,
      "a request is waited for exactly once");
  return entries_[index];
}

}  // namespace halfpipe::transport
