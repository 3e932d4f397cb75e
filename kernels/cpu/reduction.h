// SPDX-License-Identifier: Apache-2.0
// Sums with a fixed order on the CPU. Contracts: kernels/ops/reduction.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/reduction.h"

namespace halfpipe::cpu {

void sum_of_squares(const ops::SumOfSquares& args, ThreadPool& pool);
/// One after another.
void sum_of_squares_pieces(std::span<const ops::SumOfSquares> pieces, ThreadPool& pool);
/// One float64 per block of the sum.
[[nodiscard]] std::int64_t num_square_blocks(std::int64_t count);
void accumulate(const ops::Accumulate& args, ThreadPool& pool);
void column_sum(const ops::ColumnSum& args, ThreadPool& pool);
void sum_parts(const ops::SumParts& args, ThreadPool& pool);
void round_to_bfloat16(const ops::RoundToBFloat16& args, ThreadPool& pool);

}  // namespace halfpipe::cpu
