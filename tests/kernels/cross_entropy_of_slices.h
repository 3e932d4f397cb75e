// SPDX-License-Identifier: Apache-2.0
// What tests of the cross-entropy of slices of a vocabulary share, whatever the device.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/core/dtype.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/vocabulary_slices.h"

namespace halfpipe::testing {

using Indices = std::vector<std::int32_t>;
using Results = std::vector<std::vector<float>>;

// What cross_entropy_of_slice_extremes_test.cpp asks of the device under test: in
// cpu/cross_entropy_of_slice_test.cpp or in cuda/cross_entropy_of_slice_test.cpp, one of which is
// linked.

/// {losses, logits after the call} of every slice, at scale 1.
[[nodiscard]] Results cross_entropy_of_slices(const std::vector<VocabularySlice>& slices,
                                              const Indices& targets,
                                              DType dtype);
/// How many roundings of float32 a loss may be off, beside those of differences of logits.
[[nodiscard]] double roundings_of_loss();

/// The reference, of the columns that are no padding.
inline reference::Values statistics_of_reference(const VocabularySlice& slice,
                                                 const Indices& targets) {
  reference::Values logits;
  for (std::size_t n = 0; n < targets.size(); ++n) {
    const auto row = slice.logits.begin() + static_cast<std::int64_t>(n) * slice.stride;
    logits.insert(logits.end(), row, row + slice.V);
  }
  return reference::cross_entropy_statistics(logits, targets, slice.V, slice.first_id);
}

/// The gradients of all ranks as one, [N, V], after what each must have has been checked: the same
/// losses as all others, and no gradient where there is padding.
inline std::vector<float> joined_gradient(const std::vector<VocabularySlice>& slices,
                                          const Results& results,
                                          std::int64_t V) {
  Results gradients;
  for (std::size_t k = 0; k < slices.size(); ++k) {
    EXPECT_TRUE(same_bits(results[2 * k], results[0]));
    EXPECT_TRUE(padding_is_zero(slices[k], results[2 * k + 1]));
    gradients.push_back(results[2 * k + 1]);
  }
  return join_vocabulary(slices, gradients, V);
}

}  // namespace halfpipe::testing
