// SPDX-License-Identifier: Apache-2.0
// Shapes, views and element types.
#include "kernels/core/tensor.h"

#include <gtest/gtest.h>

#include <vector>

namespace halfpipe {
namespace {

TEST(Shape, CountsElements) {
  EXPECT_EQ(Shape().num_elements(), 1);  // a scalar
  EXPECT_EQ(Shape({5}).num_elements(), 5);
  EXPECT_EQ(Shape({2, 3, 4, 5}).num_elements(), 120);
  EXPECT_EQ(Shape({7, 0}).num_elements(), 0);
  EXPECT_EQ(Shape({50257, 50257, 4}).num_elements(), 10'103'064'196);  // beyond 32 bits
}

TEST(Shape, KeepsItsExtents) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3U);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[2], 4);
  EXPECT_EQ(std::vector<std::int64_t>(shape.extents().begin(), shape.extents().end()),
            (std::vector<std::int64_t>{2, 3, 4}));
}

TEST(Shape, IsEqualOnlyWithEqualRank) {
  EXPECT_EQ(Shape({2, 3}), Shape({2, 3}));
  EXPECT_NE(Shape({2, 3}), Shape({3, 2}));
  EXPECT_NE(Shape({2}), Shape({2, 0}));
}

TEST(Shape, RefusesAFifthAxis) {
  EXPECT_THROW(Shape({1, 2, 3, 4, 5}), InternalError);
}

TEST(Tensor, KnowsItsBytes) {
  EXPECT_EQ((Tensor{nullptr, DType::kFloat32, {3, 5}}.bytes()), 60U);
  EXPECT_EQ((Tensor{nullptr, DType::kFloat64, {3, 5}}.bytes()), 120U);
  EXPECT_EQ((Tensor{nullptr, DType::kInt32, {7}}.bytes()), 28U);
  EXPECT_EQ((Tensor{nullptr, DType::kInt64, {7}}.bytes()), 56U);
  EXPECT_EQ((Tensor{nullptr, DType::kUInt8, {7}}.bytes()), 7U);
}

TEST(Tensor, GivesAFloatPointerOnlyToFloats) {
  float value = 1.5F;
  const Tensor floats{&value, DType::kFloat32, {1}};
  EXPECT_EQ(floats.f32(), &value);
  const Tensor words{&value, DType::kInt32, {1}};
  EXPECT_THROW((void)words.f32(), InternalError);
}

TEST(DType, HasNames) {
  EXPECT_EQ(name_of(DType::kFloat32), "float32");
  EXPECT_EQ(name_of(DType::kUInt8), "uint8");
}

}  // namespace
}  // namespace halfpipe
