// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/group_transport.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/core/error.h"

namespace halfpipe::transport {
namespace {

/// Host memory, with nothing under way on a device.
class HostStream final : public device::Stream {
 public:
  void record(device::Event& /*event*/) override {}
  void wait_for(device::Event& /*event*/) override {}
  void synchronize() override {}
};

int place_of(int rank, const std::vector<int>& members) {
  const auto found = std::ranges::find(members, rank);
  HALFPIPE_CHECK(found != members.end(), "a rank is not in its own group");
  return static_cast<int>(found - members.begin());
}

}  // namespace

GroupTransport::GroupTransport(Transport& carrier, std::vector<int> members)
    : CarriedTransport(carrier),
      members_(std::move(members)),
      rank_(place_of(carrier.rank(), members_)) {}

void GroupTransport::send_bytes(std::span<const std::byte> bytes, int to) {
  HostStream stream;
  const std::uint64_t count = bytes.size();
  const Request size = send(std::as_bytes(std::span(&count, 1)), to, stream);
  wait(size, stream);
  if (count > 0) wait(send(bytes, to, stream), stream);
}

std::vector<std::byte> GroupTransport::receive_bytes(int from) {
  HostStream stream;
  std::uint64_t count = 0;
  wait(post_recv(std::as_writable_bytes(std::span(&count, 1)), from, stream), stream);
  std::vector<std::byte> bytes(count);
  if (count > 0) wait(post_recv(bytes, from, stream), stream);
  return bytes;
}

void GroupTransport::broadcast(std::vector<std::byte>& inout, int root) {
  if (rank_ != root) {
    inout = receive_bytes(root);
    return;
  }
  for (int to = 0; to < world_size(); ++to) {
    if (to != root) send_bytes(inout, to);
  }
}

std::vector<std::vector<std::byte>> GroupTransport::all_gather(std::span<const std::byte> mine) {
  std::vector<std::vector<std::byte>> all(members_.size());
  all[static_cast<std::size_t>(rank_)].assign(mine.begin(), mine.end());
  // A send may end only when it is received: all parts are with rank 0 before it sends one.
  if (rank_ != 0) send_bytes(mine, 0);
  for (int from = 1; rank_ == 0 && from < world_size(); ++from) {
    all[static_cast<std::size_t>(from)] = receive_bytes(from);
  }
  for (std::vector<std::byte>& part : all) broadcast(part, 0);
  return all;
}

void GroupTransport::all_reduce_sum(std::span<double> inout) {
  std::vector<double> sum(inout.size(), 0.0);
  for (const std::vector<std::byte>& part : all_gather(std::as_bytes(inout))) {
    HALFPIPE_CHECK(part.size() == inout.size_bytes(), "ranks add vectors of different lengths");
    std::vector<double> values(inout.size());
    std::memcpy(values.data(), part.data(), part.size());
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += values[i];
  }
  std::ranges::copy(sum, inout.begin());
}

void GroupTransport::barrier() {
  (void)all_gather({});
}

void GroupTransport::publish(const RankStatus& status) {
  RankStatus of_job = status;
  if (status.peer >= 0) of_job.peer = member(status.peer);
  carrier().publish(of_job);
}

}  // namespace halfpipe::transport
