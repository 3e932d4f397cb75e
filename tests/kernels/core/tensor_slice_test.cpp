// SPDX-License-Identifier: Apache-2.0
// Slices of tensors, against a walk over every element.
#include "kernels/core/tensor_slice.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace halfpipe {
namespace {

std::vector<SliceRun> runs_of(const TensorSlice& slice, std::int64_t first, std::int64_t last) {
  std::vector<SliceRun> runs;
  for_each_run(slice, first, last, [&](const SliceRun& run) { runs.push_back(run); });
  return runs;
}

/// For each element first .. last - 1 of the slice its index in the whole, -1 for padding.
std::vector<std::int64_t> by_element(const TensorSlice& s, std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> indices;
  std::int64_t at = 0;
  for (std::int64_t o = 0; o < s.outer; ++o) {
    for (std::int64_t e = s.begin; e < s.end; ++e) {
      for (std::int64_t i = 0; i < s.inner; ++i, ++at) {
        if (at < first || at >= last) continue;
        indices.push_back(e < s.extent ? (o * s.extent + e) * s.inner + i : -1);
      }
    }
  }
  return indices;
}

std::vector<std::int64_t> by_run(const TensorSlice& s, std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(last - first), -1);
  for (const SliceRun& run : runs_of(s, first, last)) {
    EXPECT_GT(run.count, 0);
    for (std::int64_t i = 0; i < run.count; ++i) {
      indices.at(static_cast<std::size_t>(run.in_slice + i - first)) = run.in_whole + i;
    }
  }
  return indices;
}

TEST(TensorSlice, RunsCoverEveryElementOnce) {
  const std::vector<TensorSlice> slices{
      TensorSlice::whole(12),
      {.outer = 3, .extent = 8, .inner = 1, .begin = 2, .end = 5},   // columns
      {.outer = 1, .extent = 8, .inner = 3, .begin = 4, .end = 8},   // rows
      {.outer = 2, .extent = 6, .inner = 5, .begin = 0, .end = 2},   // both
      {.outer = 2, .extent = 5, .inner = 3, .begin = 4, .end = 8},   // a row, then padding
      {.outer = 1, .extent = 5, .inner = 3, .begin = 8, .end = 12},  // padding alone
      {.outer = 1, .extent = 4, .inner = 3, .begin = 4, .end = 8}};  // as wide as the whole
  for (const TensorSlice& slice : slices) {
    for (std::int64_t first = 0; first <= slice.count(); ++first) {
      for (std::int64_t last = first; last <= slice.count(); ++last) {
        EXPECT_EQ(by_run(slice, first, last), by_element(slice, first, last));
      }
    }
  }
}

TEST(TensorSlice, IsOneRunWhereItLiesInOnePiece) {
  EXPECT_EQ(runs_of(TensorSlice::whole(12), 0, 12), (std::vector<SliceRun>{{0, 0, 12}}));
  const TensorSlice rows{.outer = 1, .extent = 8, .inner = 3, .begin = 4, .end = 8};
  EXPECT_EQ(runs_of(rows, 0, 12), (std::vector<SliceRun>{{12, 0, 12}}));
}

}  // namespace
}  // namespace halfpipe
