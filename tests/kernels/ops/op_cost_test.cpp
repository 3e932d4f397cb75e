// SPDX-License-Identifier: Apache-2.0
// Costs of operations against counts by hand. (engine/runtime/stage_costs_test adds them up to
// whole stages.)
#include "kernels/ops/op_cost.h"

#include <gtest/gtest.h>

namespace halfpipe::ops {
namespace {

constexpr double kFloat = 4.0;  // bytes
float some_float;

TEST(OpCost, MatmulMovesItsOperandsOnce) {
  Matmul args{};
  args.M = 3;
  args.N = 5;
  args.K = 7;
  EXPECT_EQ(cost_of(args).flops, 2.0 * 3 * 5 * 7);
  EXPECT_EQ(cost_of(args).bytes, kFloat * (3 * 7 + 7 * 5 + 3 * 5));
  args.bias_or_null = &some_float;
  EXPECT_EQ(cost_of(args).bytes, kFloat * (3 * 7 + 7 * 5 + 3 * 5 + 5));
  args.residual_or_null = &some_float;
  EXPECT_EQ(cost_of(args).bytes, kFloat * (3 * 7 + 7 * 5 + 2 * 3 * 5 + 5));
  Matmul with_gelu{};
  with_gelu.M = 3;
  with_gelu.N = 8;
  with_gelu.K = 7;
  with_gelu.pre_activation_or_null = &some_float;
  EXPECT_EQ(cost_of(with_gelu).bytes, kFloat * (3 * 7 + 7 * 8 + 2 * 3 * 8));
  Matmul sum{};
  sum.M = 3;
  sum.N = 5;
  sum.K = 7;
  sum.accumulate = true;
  EXPECT_EQ(cost_of(sum).bytes, kFloat * (3 * 7 + 7 * 5 + 2 * 3 * 5));
}

TEST(OpCost, AttentionCountsHalfOfEachProduct) {
  const AttentionDims dims{.B = 2, .T = 8, .NH = 3, .HS = 4};
  const double product = 2.0 * 2 * 3 * 8 * 8 * 4;  // whole
  AttentionForward forward{};
  forward.dims = dims;
  EXPECT_EQ(cost_of(forward).flops, 2 * product / 2);
  EXPECT_EQ(cost_of(forward).bytes, kFloat * (4 * 2 * 8 * 3 * 4 + 2 * 3 * 8));
  AttentionBackwardInput backward{};
  backward.dims = dims;
  EXPECT_EQ(cost_of(backward).flops, 5 * product / 2);
  EXPECT_EQ(cost_of(backward).bytes, kFloat * (8 * 2 * 8 * 3 * 4 + 2 * 3 * 8));
  AttentionDecode decode{};
  decode.B = 2;
  decode.NH = 3;
  decode.HS = 4;
  decode.T_max = 100;
  decode.position = 9;
  EXPECT_EQ(cost_of(decode).flops, 2 * (2.0 * 2 * 3 * 4 * 10));
  EXPECT_EQ(cost_of(decode).bytes, kFloat * (2 * 2 * 3 * 4 * 10 + 2 * 2 * 3 * 4));
}

TEST(OpCost, ElementWiseOperationsMoveBytesOnly) {
  GeluForward gelu{};
  gelu.count = 10;
  EXPECT_EQ(cost_of(gelu).flops, 0.0);
  EXPECT_EQ(cost_of(gelu).bytes, kFloat * 20);
  GeluBackwardInput dgelu{};
  dgelu.count = 10;
  EXPECT_EQ(cost_of(dgelu).bytes, kFloat * 30);
  dgelu.C = 5;
  dgelu.dbias_or_null = &some_float;
  EXPECT_EQ(cost_of(dgelu).bytes, kFloat * (30 + 2 * 5));
  AdamW adamw{};
  adamw.count = 10;
  EXPECT_EQ(cost_of(adamw).bytes, kFloat * (4 + 3) * 10);  // reads p, m, v, g; writes p, m, v
  adamw.writes = AdamWWrites::kParam;
  EXPECT_EQ(cost_of(adamw).bytes, kFloat * (4 + 1) * 10);
  adamw.writes = AdamWWrites::kCopy;
  EXPECT_EQ(cost_of(adamw).bytes, kFloat * 4 * 10);
  SumOfSquares squares{};
  squares.count = 10;
  EXPECT_EQ(cost_of(squares).bytes, kFloat * 10);
  Accumulate accumulate{};
  accumulate.count = 10;
  EXPECT_EQ(cost_of(accumulate).bytes, kFloat * 30);
  ColumnSum column{};
  column.N = 6;
  column.C = 5;
  EXPECT_EQ(cost_of(column).bytes, kFloat * (6 * 5 + 2 * 5));
}

TEST(OpCost, NormsMoveRowsAndStatistics) {
  LayerNormForward forward{};
  forward.N = 6;
  forward.C = 5;
  EXPECT_EQ(cost_of(forward).bytes, kFloat * (2 * 30 + 2 * 6 + 5));
  forward.bias_or_null = &some_float;
  EXPECT_EQ(cost_of(forward).bytes, kFloat * (2 * 30 + 2 * 6 + 2 * 5));
  LayerNormBackwardInput input{};
  input.N = 6;
  input.C = 5;
  EXPECT_EQ(cost_of(input).bytes, kFloat * (3 * 30 + 2 * 6 + 5));
  input.residual_or_null = &some_float;
  EXPECT_EQ(cost_of(input).bytes, kFloat * (4 * 30 + 2 * 6 + 5));
  LayerNormBackwardWeight weight{};
  weight.N = 6;
  weight.C = 5;
  EXPECT_EQ(cost_of(weight).bytes, kFloat * (2 * 30 + 2 * 6 + 2 * 5));
  weight.dbias_or_null = &some_float;
  EXPECT_EQ(cost_of(weight).bytes, kFloat * (2 * 30 + 2 * 6 + 4 * 5));
}

TEST(OpCost, EmbeddingAndLossMoveWhatTheyTouch) {
  EmbeddingForward forward{};
  forward.B = 2;
  forward.T = 3;
  forward.C = 5;
  // Writes [B, T, C]; reads a row of the table for each, the positions and the tokens.
  EXPECT_EQ(cost_of(forward).bytes, kFloat * (2 * 30 + 6));
  forward.position_table = &some_float;
  EXPECT_EQ(cost_of(forward).bytes, kFloat * (2 * 30 + 15 + 6));
  EmbeddingBackwardWeight weight{};
  weight.B = 2;
  weight.T = 3;
  weight.C = 5;
  EXPECT_EQ(cost_of(weight).bytes, kFloat * (30 + 2 * 30 + 2 * 15 + 6));
  CrossEntropy loss{};
  loss.N = 4;
  loss.V = 9;
  EXPECT_EQ(cost_of(loss).bytes, kFloat * (36 + 8));  // evaluation
  loss.scale = 0.5F;
  EXPECT_EQ(cost_of(loss).bytes, kFloat * (2 * 36 + 8));
}

TEST(OpCost, ASliceOfTheLossMovesItsLogitsAndTheStatisticsOfAll) {
  CrossEntropyStatistics statistics{};
  statistics.N = 4;
  statistics.V = 9;
  statistics.stride = 16;  // padding does not count
  // Reads the logits and the targets; writes three numbers per row.
  EXPECT_EQ(cost_of(statistics).bytes, kFloat * (36 + 4 + 12));
  CrossEntropyOfSlice loss{};
  loss.num_slices = 3;
  loss.N = 4;
  loss.V = 9;
  loss.stride = 16;
  EXPECT_EQ(cost_of(loss).bytes, kFloat * (8 + 3 * 12));  // evaluation
  loss.scale = 0.5F;
  EXPECT_EQ(cost_of(loss).bytes, kFloat * (2 * 36 + 8 + 3 * 12));
}

TEST(OpCost, SumsOfPartsReadEveryPartOnce) {
  SumParts args{};
  args.num_parts = 3;
  args.N = 6;
  args.C = 5;
  EXPECT_EQ(cost_of(args).bytes, kFloat * (4 * 30));
  args.residual_or_null = &some_float;
  EXPECT_EQ(cost_of(args).bytes, kFloat * (5 * 30));
  args.bias_or_null = &some_float;
  EXPECT_EQ(cost_of(args).bytes, kFloat * (5 * 30 + 5));
}

// Activations and weights have 2 bytes; token ids, statistics, losses and gradients of parameters
// keep 4.
constexpr double kBFloat16 = 2.0;  // bytes

TEST(OpCost, ProductsOfBFloat16MoveHalfTheBytes) {
  Matmul args{};
  args.M = 3;
  args.N = 5;
  args.K = 7;
  args.bias_or_null = &some_float;
  args.residual_or_null = &some_float;
  args.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(args).flops, 2.0 * 3 * 5 * 7);
  EXPECT_EQ(cost_of(args).bytes, kBFloat16 * (3 * 7 + 7 * 5 + 2 * 3 * 5 + 5));
  Matmul sum{};
  sum.M = 3;
  sum.N = 5;
  sum.K = 7;
  sum.accumulate = true;
  sum.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(sum).bytes, kBFloat16 * (3 * 7 + 7 * 5) + kFloat * 2 * 3 * 5);

  const AttentionDims dims{.B = 2, .T = 8, .NH = 3, .HS = 4};
  AttentionForward forward{};
  forward.dims = dims;
  forward.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(forward).bytes, kBFloat16 * (4 * 2 * 8 * 3 * 4) + kFloat * (2 * 3 * 8));
  AttentionBackwardInput backward{};
  backward.dims = dims;
  backward.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(backward).bytes, kBFloat16 * (8 * 2 * 8 * 3 * 4) + kFloat * (2 * 3 * 8));
}

TEST(OpCost, ElementsOfBFloat16HaveTwoBytes) {
  GeluForward gelu{};
  gelu.count = 10;
  gelu.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(gelu).bytes, kBFloat16 * 20);
  GeluBackwardInput dgelu{};
  dgelu.count = 10;
  dgelu.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(dgelu).bytes, kBFloat16 * 30);
  ColumnSum column{};
  column.N = 6;
  column.C = 5;
  column.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(column).bytes, kBFloat16 * (6 * 5) + kFloat * (2 * 5));
  RoundToBFloat16 round{};
  round.count = 10;
  EXPECT_EQ(cost_of(round).bytes, (kFloat + kBFloat16) * 10);
  AdamW adamw{};
  adamw.count = 10;
  BFloat16 copy{};
  adamw.copy_or_null = &copy;
  EXPECT_EQ(cost_of(adamw).bytes, (kFloat * (4 + 3) + kBFloat16) * 10);
  adamw.moment_dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(adamw).bytes, (kFloat * (2 + 1) + kBFloat16 * (2 + 2) + kBFloat16) * 10);
}

TEST(OpCost, NormsOfBFloat16KeepFloat32StatisticsAndGradients) {
  LayerNormForward forward{};
  forward.N = 6;
  forward.C = 5;
  forward.bias_or_null = &some_float;
  forward.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(forward).bytes, kBFloat16 * (2 * 30 + 2 * 5) + kFloat * (2 * 6));
  LayerNormBackwardInput input{};
  input.N = 6;
  input.C = 5;
  input.residual_or_null = &some_float;
  input.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(input).bytes, kBFloat16 * (4 * 30 + 5) + kFloat * (2 * 6));
  LayerNormBackwardWeight weight{};
  weight.N = 6;
  weight.C = 5;
  weight.dbias_or_null = &some_float;
  weight.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(weight).bytes, kBFloat16 * (2 * 30) + kFloat * (2 * 6 + 4 * 5));
}

TEST(OpCost, EmbeddingAndLossOfBFloat16KeepFourByteTokensLossesAndGradients) {
  EmbeddingForward forward{};
  forward.B = 2;
  forward.T = 3;
  forward.C = 5;
  forward.position_table = &some_float;
  forward.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(forward).bytes, kBFloat16 * (2 * 30 + 15) + kFloat * 6);
  EmbeddingBackwardWeight weight{};
  weight.B = 2;
  weight.T = 3;
  weight.C = 5;
  weight.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(weight).bytes, kBFloat16 * 30 + kFloat * (2 * 30 + 2 * 15 + 6));
  CrossEntropy loss{};
  loss.N = 4;
  loss.V = 9;
  loss.scale = 0.5F;
  loss.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(loss).bytes, kBFloat16 * (2 * 36) + kFloat * 8);
}

TEST(OpCost, OperationsOfTensorRanksInBFloat16KeepFourByteStatistics) {
  CrossEntropyStatistics statistics{};
  statistics.N = 4;
  statistics.V = 9;
  statistics.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(statistics).bytes, kBFloat16 * 36 + kFloat * 16);
  CrossEntropyOfSlice loss{};
  loss.num_slices = 2;
  loss.N = 4;
  loss.V = 9;
  loss.scale = 0.5F;
  loss.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(loss).bytes, kBFloat16 * (2 * 36) + kFloat * (8 + 2 * 12));
  SumParts parts{};
  parts.num_parts = 2;
  parts.N = 6;
  parts.C = 5;
  parts.bias_or_null = &some_float;
  parts.residual_or_null = &some_float;
  parts.dtype = DType::kBFloat16;
  EXPECT_EQ(cost_of(parts).bytes, kBFloat16 * (4 * 30 + 5));
}

}  // namespace
}  // namespace halfpipe::ops
