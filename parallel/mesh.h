// SPDX-License-Identifier: Apache-2.0
// The ranks of a job as a grid with three axes: replicas (data), the ranks of a pipeline, and the
// ranks that share each layer (tensor).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace halfpipe::parallel {

enum class Axis : std::uint8_t { kData, kPipeline, kTensor };
inline constexpr std::size_t kNumAxes = 3;

/// Outermost first: neighbours along the last axis have neighbouring ranks. Tensor ranks exchange
/// most, so that theirs is the last one unless told otherwise: neighbouring ranks share a machine.
using AxisOrder = std::array<Axis, kNumAxes>;
inline constexpr AxisOrder kTensorInnermost{Axis::kData, Axis::kPipeline, Axis::kTensor};

/// One number per axis.
struct Coordinates {
  int data = 0;
  int pipeline = 0;
  int tensor = 0;

  [[nodiscard]] int& operator[](Axis axis) {
    return axis == Axis::kData ? data : axis == Axis::kPipeline ? pipeline : tensor;
  }
  [[nodiscard]] int operator[](Axis axis) const { return Coordinates(*this)[axis]; }
  friend bool operator==(const Coordinates&, const Coordinates&) = default;
};

struct Mesh {
  Coordinates extents{1, 1, 1};
  AxisOrder order = kTensorInnermost;

  [[nodiscard]] int num_ranks() const { return extents.data * extents.pipeline * extents.tensor; }

  [[nodiscard]] Coordinates coordinates_of(int rank) const {
    Coordinates at;
    for (std::size_t i = kNumAxes; i-- > 0;) {
      at[order[i]] = rank % extents[order[i]];
      rank /= extents[order[i]];
    }
    return at;
  }
  [[nodiscard]] int rank_at(const Coordinates& at) const {
    int rank = 0;
    for (const Axis axis : order) rank = rank * extents[axis] + at[axis];
    return rank;
  }

  /// The ranks that differ from this one along the axis alone, itself included, in the order of
  /// their coordinates there.
  [[nodiscard]] std::vector<int> group_of(int rank, Axis axis) const {
    std::vector<int> ranks;
    Coordinates at = coordinates_of(rank);
    for (at[axis] = 0; at[axis] < extents[axis]; ++at[axis]) ranks.push_back(rank_at(at));
    return ranks;
  }
};

}  // namespace halfpipe::parallel
