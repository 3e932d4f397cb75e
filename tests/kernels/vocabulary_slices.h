// SPDX-License-Identifier: Apache-2.0
// Logits and targets of a whole vocabulary, cut for tensor ranks and put together again.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace halfpipe::testing {

/// Columns 0 .. V - 1 of rows of `stride` are of ids first_id .. first_id + V - 1. The others are
/// padding, NaN here: what reads it shows.
struct VocabularySlice {
  std::int64_t first_id;
  std::int64_t V;
  std::int64_t stride;
  std::vector<float> logits;  // [N, stride]
};

/// num_slices of logits, [N, V], with num_ids each; the last ones may have fewer, or none.
inline std::vector<VocabularySlice> cut_vocabulary(const std::vector<float>& logits,
                                                   std::int64_t V,
                                                   std::int64_t num_slices,
                                                   std::int64_t num_ids,
                                                   std::int64_t stride) {
  const std::int64_t N = static_cast<std::int64_t>(logits.size()) / V;
  std::vector<VocabularySlice> slices;
  for (std::int64_t k = 0; k < num_slices; ++k) {
    const std::int64_t first_id = std::min(V, k * num_ids);
    VocabularySlice slice{first_id, std::min(num_ids, V - first_id), stride,
                          std::vector<float>(static_cast<std::size_t>(N * stride),
                                             std::numeric_limits<float>::quiet_NaN())};
    for (std::int64_t n = 0; n < N; ++n) {
      std::copy_n(logits.begin() + n * V + first_id, slice.V, slice.logits.begin() + n * stride);
    }
    slices.push_back(slice);
  }
  return slices;
}

/// [N, V] of what has become of the slices' logits.
inline std::vector<float> join_vocabulary(const std::vector<VocabularySlice>& slices,
                                          const std::vector<std::vector<float>>& logits,
                                          std::int64_t V) {
  const std::size_t N = logits.front().size() / static_cast<std::size_t>(slices.front().stride);
  std::vector<float> whole(N * static_cast<std::size_t>(V));
  for (std::size_t k = 0; k < slices.size(); ++k) {
    for (std::size_t n = 0; n < N; ++n) {
      const auto row = static_cast<std::int64_t>(n);
      std::copy_n(logits[k].begin() + row * slices[k].stride, slices[k].V,
                  whole.begin() + row * V + slices[k].first_id);
    }
  }
  return whole;
}

/// Whether the padding of a slice is 0 everywhere.
inline ::testing::AssertionResult padding_is_zero(const VocabularySlice& slice,
                                                  const std::vector<float>& logits) {
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::int64_t v = static_cast<std::int64_t>(i) % slice.stride;
    if (v < slice.V || logits[i] == 0.0F) continue;
    return ::testing::AssertionFailure() << "padding at [" << i << "] is " << logits[i];
  }
  return ::testing::AssertionSuccess();
}

/// Random ids, and as many as there is room for of those at the edges of slices.
inline std::vector<std::int32_t> targets_at_edges(std::int64_t N,
                                                  std::int64_t V,
                                                  std::int64_t num_slices,
                                                  std::int64_t num_ids,
                                                  std::vector<std::int32_t> random) {
  std::vector<std::int64_t> edges{V - 1, 0};
  for (std::int64_t k = 1; k < num_slices; ++k)
    edges.insert(edges.end(), {k * num_ids - 1, k * num_ids});
  for (std::size_t n = 0; n < std::min(edges.size(), static_cast<std::size_t>(N)); ++n) {
    random[n] = static_cast<std::int32_t>(std::min(V - 1, edges[n]));
  }
  return random;
}

}  // namespace halfpipe::testing
