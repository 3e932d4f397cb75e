// SPDX-License-Identifier: Apache-2.0
// Speed of the CPU's matrix products, in float32 beside the same products by oneDNN with its own
// threads and in bfloat16, and of attention. Usage: cpu_products_bench [num_threads]
#include <dnnl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/product_primitive.h"
#include "kernels/cpu/thread_pool.h"

// OpenMP's own, of the runtime that oneDNN uses.
extern "C" void omp_set_num_threads(int num_threads);

namespace {

using halfpipe::cpu::ThreadPool;
using Clock = std::chrono::steady_clock;

struct Shape {
  std::int64_t M;
  std::int64_t N;
  std::int64_t K;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The fastest of several runs: other work on the machine only ever adds time.
template <typename Run>
double best_seconds(const Run& run) {
  run();
  double best = 1e30;
  const auto begin = Clock::now();
  for (int i = 0; i < 3 || seconds_since(begin) < 0.2; ++i) {
    const auto start = Clock::now();
    run();
    best = std::min(best, seconds_since(start));
  }
  return best;
}

double seconds_of_matmul(halfpipe::ops::Matmul args, halfpipe::DType dtype, ThreadPool& pool) {
  args.dtype = dtype;
  std::vector<std::byte> scratch(halfpipe::cpu::matmul_scratch_bytes(args, pool));
  args.scratch = scratch.data();
  return best_seconds([&] { halfpipe::cpu::matmul(args, pool); });
}

void measure_matmul(const Shape& s, bool transpose_a, bool transpose_b, ThreadPool& pool) {
  const std::vector<float> a(static_cast<std::size_t>(s.M * s.K), 0.5F);
  const std::vector<float> b(static_cast<std::size_t>(s.K * s.N), 0.25F);
  std::vector<float> c(static_cast<std::size_t>(s.M * s.N), 0.0F);
  const bool accumulate = transpose_a;  // the gradient of a weight
  const double library = best_seconds([&] {
    omp_set_num_threads(pool.num_threads());
    dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', s.M, s.N, s.K, 1.0F, a.data(),
               transpose_a ? s.M : s.K, b.data(), transpose_b ? s.K : s.N, accumulate ? 1.0F : 0.0F,
               c.data(), s.N);
  });
  // As bfloat16 the same memory holds these values and zeros.
  const halfpipe::ops::Matmul args{c.data(),    a.data(),    b.data(),   nullptr,
                                   nullptr,     s.M,         s.N,        s.K,
                                   transpose_a, transpose_b, accumulate, nullptr};
  const double float32 = seconds_of_matmul(args, halfpipe::DType::kFloat32, pool);
  const double bfloat16 = seconds_of_matmul(args, halfpipe::DType::kBFloat16, pool);
  const double giga = 2e-9 * static_cast<double>(s.M * s.N * s.K);
  fmt::print(
      "{}{} {:5} x {:5} x {:5}   library {:4.0f}   float32 {:4.0f}   bfloat16 {:4.0f} GFLOP/s\n",
      transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', s.M, s.N, s.K, giga / library,
      giga / float32, giga / bfloat16);
}

/// y = x W, dx = dy W^T, dW += x^T dy for x [rows, in], W [in, out].
void measure_linear(std::int64_t rows, std::int64_t in, std::int64_t out, ThreadPool& pool) {
  measure_matmul({rows, out, in}, false, false, pool);
  measure_matmul({rows, in, out}, false, true, pool);
  measure_matmul({in, out, rows}, true, false, pool);
}

/// Seconds of {forward, backward}.
std::array<double, 2> seconds_of_attention(const halfpipe::ops::AttentionDims& d,
                                           halfpipe::DType dtype,
                                           ThreadPool& pool) {
  // As bfloat16 the same memory holds these values, which need no more than 8 places, and zeros.
  const auto count = static_cast<std::size_t>(d.B * d.T * d.NH * d.HS);
  std::vector<float> qkv(3 * count);
  for (std::size_t i = 0; i < qkv.size(); ++i) {
    qkv[i] = static_cast<float>(i * 2654435761U % 256) / 128.0F - 1.0F;
  }
  std::vector<float> out(count);
  std::vector<float> lse(static_cast<std::size_t>(d.B * d.NH * d.T));
  const std::vector<float> dout(count, 0.125F);
  std::vector<float> dqkv(3 * count);
  std::vector<std::byte> scratch(
      std::max(halfpipe::cpu::attention_forward_scratch_bytes(d, dtype, pool),
               halfpipe::cpu::attention_backward_scratch_bytes(d, dtype, pool)));
  const double forward = best_seconds([&] {
    halfpipe::cpu::attention_forward({out.data(), lse.data(), qkv.data(), d, scratch.data(), dtype},
                                     pool);
  });
  const double backward = best_seconds([&] {
    halfpipe::cpu::attention_backward_input(
        {dqkv.data(), dout.data(), qkv.data(), out.data(), lse.data(), d, scratch.data(), dtype},
        pool);
  });
  return {forward, backward};
}

void measure_attention(const halfpipe::ops::AttentionDims& d, ThreadPool& pool) {
  const auto float32 = seconds_of_attention(d, halfpipe::DType::kFloat32, pool);
  const auto bfloat16 = seconds_of_attention(d, halfpipe::DType::kBFloat16, pool);
  // Two products forward, five backward; the half above the diagonal is not counted.
  const double giga = 1e-9 * static_cast<double>(d.B * d.NH * d.T * d.T * d.HS);
  fmt::print(
      "attention B={} T={} NH={} HS={}   forward float32 {:4.0f}   bfloat16 {:4.0f}   "
      "backward float32 {:4.0f}   bfloat16 {:4.0f} GFLOP/s\n",
      d.B, d.T, d.NH, d.HS, 2 * giga / float32[0], 2 * giga / bfloat16[0], 5 * giga / float32[1],
      5 * giga / bfloat16[1]);
}

}  // namespace

int main(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::max(1, std::atoi(argv[1])) : 1);
  fmt::print("{} threads; bfloat16 is {}\n", pool.num_threads(),
             halfpipe::cpu::cpu_multiplies_bfloat16() ? "the CPU's own" : "widened to float32");
  for (const std::int64_t out : {384, 1152, 1536, 256}) measure_linear(2048, 384, out, pool);
  measure_linear(2048, 1536, 384, pool);
  measure_linear(2048, 384, 50304, pool);
  measure_linear(768, 128, 384, pool);
  measure_linear(768, 128, 512, pool);
  measure_matmul({1, 1152, 384}, false, false, pool);  // generation: a layer, and the head
  measure_matmul({1, 50304, 384}, false, true, pool);
  for (const auto& dims :
       {halfpipe::ops::AttentionDims{8, 256, 6, 64}, halfpipe::ops::AttentionDims{1, 2048, 6, 64},
        halfpipe::ops::AttentionDims{12, 64, 4, 32}}) {
    measure_attention(dims, pool);
  }
}
