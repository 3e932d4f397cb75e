// SPDX-License-Identifier: Apache-2.0
// A product with GELU on the CPU: what the product and GELU, held against float64 elsewhere, give
// one after the other.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/cpu/activation.h"
#include "kernels/cpu/matmul.h"
#include "tests/kernels/cpu/thread_counts.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;
using testing::random_values;
using testing::same_bits;
using testing::to_elements;
using testing::to_float32;
using Results = std::vector<std::vector<float>>;

constexpr std::int64_t kM = 37;
constexpr std::int64_t kN = 40;
constexpr std::int64_t kK = 33;

void run(ops::Matmul args, ThreadPool& pool) {
  const GuardedBuffer<std::uint8_t> scratch(
      std::vector<std::uint8_t>(matmul_scratch_bytes(args, pool), 0xff));
  args.scratch = scratch.get();
  matmul(args, pool);
}

template <typename T>
void expect_product_then_gelu(DType dtype, bool has_bias) {
  const GuardedBuffer<T> a(to_elements<T>(random_values("a", kM * kK)));
  const GuardedBuffer<T> b(to_elements<T>(random_values("b", kK * kN, /*deviation=*/0.2)));
  const GuardedBuffer<T> bias(to_elements<T>(random_values("bias", kN)));
  const auto product_into = [&](const GuardedBuffer<T>& c) -> ops::Matmul {
    return {.c = c.get(),
            .a = a.get(),
            .b = b.get(),
            .bias_or_null = has_bias ? bias.get() : nullptr,
            .residual_or_null = nullptr,
            .M = kM,
            .N = kN,
            .K = kK,
            .transpose_a = false,
            .transpose_b = false,
            .accumulate = false,
            .scratch = nullptr,
            .dtype = dtype};
  };
  const Results fused = testing::run_with_any_threads([&](ThreadPool& pool) {
    const GuardedBuffer<T> c(kM * kN);
    const GuardedBuffer<T> pre_activation(kM * kN);
    ops::Matmul args = product_into(c);
    args.pre_activation_or_null = pre_activation.get();
    run(args, pool);
    return Results{to_float32(pre_activation.values()), to_float32(c.values())};
  });
  ThreadPool pool(2);
  const GuardedBuffer<T> sum(kM * kN);
  const GuardedBuffer<T> out(kM * kN);
  run(product_into(sum), pool);
  gelu_forward({out.get(), sum.get(), kM * kN, dtype}, pool);
  EXPECT_TRUE(same_bits(fused[0], to_float32(sum.values())));
  EXPECT_TRUE(same_bits(fused[1], to_float32(out.values())));
}

TEST(MatmulWithGelu, IsTheProductThenGelu) {
  for (const bool has_bias : {false, true}) {
    expect_product_then_gelu<float>(DType::kFloat32, has_bias);
    expect_product_then_gelu<BFloat16>(DType::kBFloat16, has_bias);
  }
}

TEST(MatmulWithGelu, RefusesWhatCannotBeAddedToIt) {
  ThreadPool pool(1);
  float memory = 0.0F;
  ops::Matmul args{};
  args.N = 8;
  args.c = args.pre_activation_or_null = &memory;
  EXPECT_NO_THROW(matmul(args, pool));  // of no rows
  ops::Matmul with_residual = args;
  with_residual.residual_or_null = &memory;
  EXPECT_THROW(matmul(with_residual, pool), InternalError);
  ops::Matmul accumulating = args;
  accumulating.accumulate = true;
  EXPECT_THROW(matmul(accumulating, pool), InternalError);
  ops::Matmul odd = args;
  odd.N = 12;
  EXPECT_THROW(matmul(odd, pool), InternalError);
}

}  // namespace
}  // namespace halfpipe::cpu
