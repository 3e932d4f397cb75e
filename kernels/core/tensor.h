// SPDX-License-Identifier: Apache-2.0
// A view of a dense, row-major array. Owns nothing and is cheap to copy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "kernels/core/dtype.h"
#include "kernels/core/error.h"

namespace halfpipe {

/// Extents of up to four axes, outermost first.
class Shape {
 public:
  static constexpr std::size_t kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) : rank_(extents.size()) {
    HALFPIPE_CHECK(extents.size() <= kMaxRank, "a shape has at most four axes");
    std::size_t axis = 0;
    for (const std::int64_t extent : extents) extents_[axis++] = extent;
  }

  [[nodiscard]] std::size_t rank() const { return rank_; }
  [[nodiscard]] std::int64_t operator[](std::size_t axis) const { return extents_[axis]; }
  [[nodiscard]] std::span<const std::int64_t> extents() const { return {extents_.data(), rank_}; }
  [[nodiscard]] std::int64_t num_elements() const {
    std::int64_t count = 1;
    for (std::size_t axis = 0; axis < rank_; ++axis) count *= extents_[axis];
    return count;
  }
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  std::size_t rank_ = 0;
};

/// A view: pointer, element type, shape.
struct Tensor {
  void* pointer = nullptr;
  DType dtype = DType::kFloat32;
  Shape shape;

  [[nodiscard]] std::size_t bytes() const {
    return static_cast<std::size_t>(shape.num_elements()) * size_of(dtype);
  }
  [[nodiscard]] float* f32() const {
    HALFPIPE_CHECK(dtype == DType::kFloat32, "the tensor is not float32");
    return static_cast<float*>(pointer);
  }
};

}  // namespace halfpipe
