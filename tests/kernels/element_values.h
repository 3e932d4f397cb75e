// SPDX-License-Identifier: Apache-2.0
// Test values as elements of a tensor's type, and back: a test is written once for float32 and
// bfloat16.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "kernels/core/bfloat16.h"
#include "kernels/core/dtype.h"

namespace halfpipe::testing {

template <typename T>
inline constexpr DType kDTypeOf = std::is_same_v<T, BFloat16> ? DType::kBFloat16 : DType::kFloat32;

template <typename T>
std::vector<T> to_elements(const std::vector<float>& values) {
  if constexpr (std::is_same_v<T, float>) {
    return values;
  } else {
    std::vector<T> elements(values.size());
    std::transform(values.begin(), values.end(), elements.begin(), to_bfloat16);
    return elements;
  }
}

template <typename T>
std::vector<float> to_float32(const std::vector<T>& elements) {
  std::vector<float> values(elements.size());
  std::transform(elements.begin(), elements.end(), values.begin(), [](T element) {
    if constexpr (std::is_same_v<T, float>) return element;
    if constexpr (std::is_same_v<T, BFloat16>) return to_float(element);
  });
  return values;
}

/// Runs test(T{}), T being the element type.
template <typename Test>
void with_elements(DType dtype, const Test& test) {
  if (dtype == DType::kBFloat16) {
    test(BFloat16{});
  } else {
    test(float{});
  }
}

/// The nearest values that the type has: inputs on which a kernel and its reference agree.
inline std::vector<float> representable(const std::vector<float>& values, DType dtype) {
  if (dtype == DType::kFloat32) return values;
  return to_float32(to_elements<BFloat16>(values));
}

}  // namespace halfpipe::testing
