// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/ranks/rank_places.h"

#include <gtest/gtest.h>

#include <thread>

#include "parallel/transport/local_group.h"

namespace halfpipe::runtime {
namespace {

TEST(RankPlaces, HaveALineForEachOfAFewRanks) {
  const parallel::Mesh mesh{{2, 1, 2}};  // data, pipeline, tensor
  EXPECT_EQ(place_lines(mesh, {{"a", "gpu 0"}, {"a", "gpu 1"}, {"node-b", "cpu"}, {"a", "gpu 2"}}),
            "places\n"
            "  rank 0     a       gpu 0   dp 0   pp 0   tp 0\n"
            "  rank 1     a       gpu 1   dp 0   pp 0   tp 1\n"
            "  rank 2     node-b  cpu     dp 1   pp 0   tp 0\n"
            "  rank 3     a       gpu 2   dp 1   pp 0   tp 1\n");
}

TEST(RankPlaces, HaveALineForEachHostOfManyRanks) {
  const parallel::Mesh mesh{{2, 8, 2}};
  std::vector<RankPlace> places;
  for (int rank = 0; rank < 31; ++rank) {
    places.push_back({rank < 16 ? "node1" : "node2", "gpu " + std::to_string(rank % 8)});
  }
  places.push_back({"node3", "gpu 0"});
  EXPECT_EQ(place_lines(mesh, places),
            "places\n"
            "  node1  ranks 0-15, gpu 0 to gpu 7, dp 0, pp 0-7, tp 0-1\n"
            "  node2  ranks 16-30, gpu 0 to gpu 6, dp 1, pp 0-7, tp 0-1\n"
            "  node3  ranks 31, gpu 0, dp 1, pp 7, tp 1\n");
}

TEST(RankPlaces, DealtOutInTurnAreRanges) {
  const parallel::Mesh mesh{{17, 2, 1}};
  std::vector<RankPlace> places;
  for (int rank = 0; rank < 34; ++rank) places.push_back({rank % 2 == 0 ? "even" : "odd", "cpu"});
  const std::string lines = place_lines(mesh, places);
  EXPECT_NE(lines.find("  even  ranks 0,2,4,"), std::string::npos) << lines;
  EXPECT_NE(lines.find(",30,32, cpu, dp 0-16, pp 0, tp 0\n"), std::string::npos) << lines;
}

TEST(RankPlaces, AreNotShownForOnePipelineOnOneHost) {
  const parallel::Mesh mesh{{1, 2, 1}};
  EXPECT_EQ(place_lines(mesh, {{"a", "cpu"}, {"a", "cpu"}}), "");
  EXPECT_NE(place_lines(mesh, {{"a", "cpu"}, {"b", "cpu"}}), "");
}

TEST(RankPlaces, OfAllRanksReachEveryRank) {
  transport::LocalGroup group(3);
  const std::vector<RankPlace> places = {{"a", "gpu 0"}, {"", "cpu"}, {"long.name", "gpu 12"}};
  std::vector<std::vector<RankPlace>> gathered(places.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t rank = 0; rank < places.size(); ++rank) {
      threads.emplace_back([&, rank] {
        const auto transport = group.make_transport(static_cast<int>(rank));
        gathered[rank] = gather_places(places[rank], *transport);
      });
    }
  }
  for (const auto& of_rank : gathered) EXPECT_EQ(of_rank, places);
  EXPECT_FALSE(host_name().empty());
}

}  // namespace
}  // namespace halfpipe::runtime
