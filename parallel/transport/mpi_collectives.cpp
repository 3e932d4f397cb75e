// SPDX-License-Identifier: Apache-2.0
// The collective calls of MpiTransport: all of them start without blocking and are waited for under
// the watchdog's eyes.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "parallel/transport/mpi_error.h"
#include "parallel/transport/mpi_transport.h"

namespace halfpipe::transport {
namespace {

/// Counts of MPI-3 are ints.
int count_of(std::size_t bytes) {
  if (bytes > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    throw RuntimeFailure(fmt::format(
        "a collective of {} bytes is larger than MPI counts (2147483647 bytes)", bytes));
  }
  return static_cast<int>(bytes);
}

}  // namespace

void MpiTransport::all_reduce_sum(std::span<double> inout) {
  throw_if_lost();
  // Gathered and summed here: MPI_SUM may add in any order, and on each rank in another one.
  const std::size_t n = inout.size();
  const std::size_t num_gathered = n * static_cast<std::size_t>(world_size_);
  if (gathered_.size() < num_gathered) gathered_.resize(num_gathered);
  const int count = count_of(n);
  MPI_Request handle = MPI_REQUEST_NULL;
  HALFPIPE_MPI_CHECK(MPI_Iallgather(inout.data(), count, MPI_DOUBLE, gathered_.data(), count,
                                    MPI_DOUBLE, collectives_, &handle));
  finish_collective(handle, "all_reduce_sum");
  for (std::size_t i = 0; i < n; ++i) {
    double sum = gathered_[i];
    for (std::size_t at = i + n; at < num_gathered; at += n) sum += gathered_[at];
    inout[i] = sum;
  }
}

void MpiTransport::broadcast(std::vector<std::byte>& inout, int root) {
  HALFPIPE_CHECK(root >= 0 && root < world_size_, fmt::format("there is no rank {}", root));
  throw_if_lost();
  std::uint64_t size = inout.size();
  MPI_Request handle = MPI_REQUEST_NULL;
  HALFPIPE_MPI_CHECK(MPI_Ibcast(&size, 1, MPI_UINT64_T, root, collectives_, &handle));
  finish_collective(handle, "broadcast");
  inout.resize(size);
  HALFPIPE_MPI_CHECK(
      MPI_Ibcast(inout.data(), count_of(size), MPI_BYTE, root, collectives_, &handle));
  finish_collective(handle, "broadcast");
}

std::vector<std::vector<std::byte>> MpiTransport::all_gather(std::span<const std::byte> mine) {
  throw_if_lost();
  const auto n = static_cast<std::size_t>(world_size_);
  const int own_size = count_of(mine.size());
  std::vector<int> sizes(n);
  MPI_Request handle = MPI_REQUEST_NULL;
  HALFPIPE_MPI_CHECK(
      MPI_Iallgather(&own_size, 1, MPI_INT, sizes.data(), 1, MPI_INT, collectives_, &handle));
  finish_collective(handle, "all_gather");

  std::vector<int> offsets(n);
  std::size_t total = 0;
  for (std::size_t rank = 0; rank < n; ++rank) {
    offsets[rank] = count_of(total);
    total += static_cast<std::size_t>(sizes[rank]);
  }
  std::vector<std::byte> joined(static_cast<std::size_t>(count_of(total)));
  HALFPIPE_MPI_CHECK(MPI_Iallgatherv(mine.data(), own_size, MPI_BYTE, joined.data(), sizes.data(),
                                     offsets.data(), MPI_BYTE, collectives_, &handle));
  finish_collective(handle, "all_gather");

  std::vector<std::vector<std::byte>> all(n);
  for (std::size_t rank = 0; rank < n; ++rank) {
    const auto begin = joined.begin() + offsets[rank];
    all[rank].assign(begin, begin + sizes[rank]);
  }
  return all;
}

void MpiTransport::barrier() {
  throw_if_lost();
  MPI_Request handle = MPI_REQUEST_NULL;
  HALFPIPE_MPI_CHECK(MPI_Ibarrier(collectives_, &handle));
  finish_collective(handle, "barrier");
}

}  // namespace halfpipe::transport
