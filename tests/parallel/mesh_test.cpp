// SPDX-License-Identifier: Apache-2.0
// Ranks and their places in a mesh.
#include "parallel/mesh.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace halfpipe::parallel {
namespace {

TEST(Mesh, NumbersTensorRanksThenPipelinesThenReplicas) {
  const Mesh mesh{.extents = {.data = 3, .pipeline = 2, .tensor = 4}};
  EXPECT_EQ(mesh.num_ranks(), 24);
  EXPECT_EQ(mesh.coordinates_of(13), (Coordinates{.data = 1, .pipeline = 1, .tensor = 1}));
  EXPECT_EQ(mesh.group_of(13, Axis::kTensor), (std::vector<int>{12, 13, 14, 15}));
  EXPECT_EQ(mesh.group_of(13, Axis::kPipeline), (std::vector<int>{9, 13}));
  EXPECT_EQ(mesh.group_of(13, Axis::kData), (std::vector<int>{5, 13, 21}));
}

TEST(Mesh, TakesTheAxesInAnyOrder) {
  AxisOrder order = kTensorInnermost;
  std::sort(order.begin(), order.end());
  std::set<std::vector<int>> numberings;
  do {
    const Mesh mesh{.extents = {.data = 2, .pipeline = 3, .tensor = 4}, .order = order};
    std::vector<int> strides;
    for (const Axis axis : order) {
      const std::vector<int> group = mesh.group_of(0, axis);
      ASSERT_EQ(group.size(), static_cast<std::size_t>(mesh.extents[axis]));
      strides.push_back(group[1]);
    }
    // The last axis has neighbouring ranks, the first one those that are furthest apart.
    EXPECT_EQ(strides, (std::vector<int>{mesh.extents[order[1]] * mesh.extents[order[2]],
                                         mesh.extents[order[2]], 1}));
    std::vector<int> numbering;
    for (int rank = 0; rank < mesh.num_ranks(); ++rank) {
      const Coordinates at = mesh.coordinates_of(rank);
      EXPECT_EQ(mesh.rank_at(at), rank);
      numbering.push_back(at.data * 100 + at.pipeline * 10 + at.tensor);
    }
    numberings.insert(numbering);
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(numberings.size(), 6U);
}

}  // namespace
}  // namespace halfpipe::parallel
