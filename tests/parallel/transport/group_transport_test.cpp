// SPDX-License-Identifier: Apache-2.0
// Groups of ranks are worlds of their own: numbers, messages and collectives stay inside.
#include "parallel/transport/group_transport.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/core/error.h"
#include "parallel/mesh.h"
#include "tests/parallel/transport/transport_ranks.h"

namespace halfpipe::transport {
namespace {

using parallel::Axis;

constexpr parallel::Mesh kMesh{.extents = {.data = 2, .pipeline = 2, .tensor = 1}};

std::vector<std::byte> bytes_of(int number, std::size_t count) {
  return std::vector<std::byte>(count, static_cast<std::byte>(number));
}

/// Both groups of every rank of a mesh of two pipelines of two ranks.
template <typename Body>
void on_both_groups(const Body& body) {
  on_every_rank(kMesh.num_ranks(), [&](Transport& world, device::Stream& stream) {
    GroupTransport pipeline(world, kMesh.group_of(world.rank(), Axis::kPipeline));
    GroupTransport replicas(world, kMesh.group_of(world.rank(), Axis::kData));
    body(pipeline, world, stream);
    body(replicas, world, stream);
  });
}

TEST(GroupTransport, NumbersItsRanks) {
  on_every_rank(kMesh.num_ranks(), [&](Transport& world, device::Stream&) {
    const GroupTransport pipeline(world, kMesh.group_of(world.rank(), Axis::kPipeline));
    const GroupTransport replicas(world, kMesh.group_of(world.rank(), Axis::kData));
    EXPECT_EQ(pipeline.rank(), world.rank() % 2);
    EXPECT_EQ(replicas.rank(), world.rank() / 2);
    EXPECT_EQ(pipeline.world_size(), 2);
    EXPECT_EQ(replicas.world_size(), 2);
    EXPECT_THROW(GroupTransport(world, {(world.rank() + 1) % 4}), InternalError);
  });
}

TEST(GroupTransport, SendsToItsRanks) {
  on_both_groups([](Transport& group, Transport& world, device::Stream& stream) {
    const int peer = 1 - group.rank();
    const std::int32_t mine = world.rank();
    std::int32_t theirs = -1;
    const Request receive =
        group.post_recv(std::as_writable_bytes(std::span(&theirs, 1)), peer, stream);
    const Request send = group.send(std::as_bytes(std::span(&mine, 1)), peer, stream);
    group.wait(receive, stream);
    group.wait(send, stream);
    // The other rank of the pair, not rank 0 or 1 of the job.
    const bool is_pipeline = theirs / 2 == mine / 2;
    EXPECT_EQ(theirs, is_pipeline ? mine - mine % 2 + peer : mine % 2 + 2 * peer);
    EXPECT_NE(theirs, mine);
  });
}

/// Three of four ranks in an order of their own, and the fourth alone.
std::vector<int> three_or_one(int rank) {
  return rank == 1 ? std::vector<int>{1} : std::vector<int>{3, 0, 2};
}

// Larger than what a transport sends before its receiver asks for it.
TEST(GroupTransport, GathersAndBroadcastsWithinItself) {
  constexpr std::size_t kLarge = std::size_t{1} << 20;
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, kLarge}) {
    on_every_rank(4, [&](Transport& world, device::Stream&) {
      const std::vector<int> members = three_or_one(world.rank());
      GroupTransport group(world, members);
      const auto part_of = [&](int rank) {
        return bytes_of(rank, size + static_cast<std::size_t>(rank));
      };
      const auto all = group.all_gather(part_of(world.rank()));
      ASSERT_EQ(all.size(), members.size());
      for (std::size_t i = 0; i < members.size(); ++i) EXPECT_EQ(all[i], part_of(members[i]));

      for (int root = 0; root < group.world_size(); ++root) {
        std::vector<std::byte> message;
        if (group.rank() == root) message = part_of(world.rank());
        group.broadcast(message, root);
        EXPECT_EQ(message, part_of(members[static_cast<std::size_t>(root)]));
      }
      group.barrier();
    });
  }
}

TEST(GroupTransport, AddsInTheOrderOfItsRanks) {
  on_every_rank(4, [](Transport& world, device::Stream&) {
    GroupTransport group(world, three_or_one(world.rank()));
    // (1 + tiny) + tiny is 1; the tiny ones together would count.
    std::vector<double> values{static_cast<double>(world.rank()),
                               group.rank() == 0 ? 1.0 : 0x1p-53};
    group.all_reduce_sum(values);
    EXPECT_EQ(values, (std::vector<double>{world.rank() == 1 ? 1.0 : 5.0, 1.0}));
  });
}

}  // namespace
}  // namespace halfpipe::transport
