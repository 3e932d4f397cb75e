// SPDX-License-Identifier: Apache-2.0
// Every element of the state is saved by one rank of the mesh.
#include "engine/runtime/state/saved_state.h"

#include <gtest/gtest.h>

#include "kernels/core/align.h"

namespace halfpipe::runtime {
namespace {

constexpr std::int64_t kRows = 64;
constexpr std::int64_t kColumns = 32;

/// What a tensor rank of two holds: a matrix in slices of its columns, and a vector whole.
std::vector<model::Parameter> held_by(int tensor_rank) {
  const std::int64_t half = kColumns / 2;
  return {{.spec = {"matrix", {kRows, kColumns}, model::Initialisation::kZero},
           .slice = {kRows, kColumns, 1, half * tensor_rank, half * (tensor_rank + 1)}},
          {.spec = {"vector", {kRows}, model::Initialisation::kZero},
           .slice = TensorSlice::whole(kRows)}};
}

/// Of replicas that step everything alike.
std::int64_t bytes_of(const std::vector<model::Parameter>& parameters,
                      DType moments,
                      const parallel::Coordinates& place) {
  const ReplicaParts alike{.buckets = {}, .stepped = {optimizer::all_elements(parameters)}};
  return saved_bytes(parameters, alike, moments, place);
}

/// A value and two moments.
std::int64_t state_bytes(std::int64_t count, DType moments) {
  const auto elements = static_cast<std::size_t>(count);
  return static_cast<std::int64_t>(padded_bytes(elements * sizeof(float)) +
                                   2 * padded_bytes(elements * size_of(moments)));
}

TEST(SavedState, IsOfEachSliceItsRankAndOfTheWholeTheFirst) {
  for (const DType moments : {DType::kFloat32, DType::kBFloat16}) {
    const std::int64_t slice = state_bytes(kRows * kColumns / 2, moments);
    const std::int64_t whole = state_bytes(kRows, moments);
    EXPECT_EQ(bytes_of(held_by(0), moments, {.tensor = 0}), slice + whole);
    EXPECT_EQ(bytes_of(held_by(1), moments, {.tensor = 1}), slice);
  }
}

TEST(SavedState, IsOfTheFirstReplicaAlone) {
  for (const int tensor_rank : {0, 1}) {
    EXPECT_EQ(bytes_of(held_by(tensor_rank), DType::kFloat32, {.data = 1, .tensor = tensor_rank}),
              0);
  }
}

TEST(SavedState, IsOfEveryReplicaWhatItSteps) {
  const std::vector<model::Parameter> parameters = held_by(0);
  const ReplicaParts shared{.buckets = {}, .stepped = {{{{0, 16}}, {}}, {{{16, 48}}, {{0, 1}}}}};
  const std::int64_t values = static_cast<std::int64_t>(
      padded_bytes(static_cast<std::size_t>(parameters[0].count()) * sizeof(float)) +
      padded_bytes(static_cast<std::size_t>(parameters[1].count()) * sizeof(float)));
  EXPECT_EQ(saved_bytes(parameters, shared, DType::kFloat32, {.data = 0}), values + 2 * 64);
  EXPECT_EQ(saved_bytes(parameters, shared, DType::kFloat32, {.data = 1}), 2 * (128 + 64));
}

TEST(SavedState, IsNotOfACopyThatAnotherRankOwns) {
  std::vector<model::Parameter> parameters = held_by(0);
  for (model::Parameter& parameter : parameters) parameter.owned = false;
  EXPECT_EQ(bytes_of(parameters, DType::kFloat32, {}), 0);
}

TEST(SavedState, IsLedByOneRankOfAStage) {
  EXPECT_TRUE(leads_its_stages({.pipeline = 3}));
  EXPECT_FALSE(leads_its_stages({.data = 1}));
  EXPECT_FALSE(leads_its_stages({.tensor = 1}));
}

}  // namespace
}  // namespace halfpipe::runtime
