// SPDX-License-Identifier: Apache-2.0
// Speed of the CPU's matrix products, beside the same products by oneDNN with its own threads, and
// of attention. Usage: cpu_products_bench [num_threads]
#include <dnnl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/matmul.h"
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
  const double tiles = best_seconds([&] {
    halfpipe::cpu::matmul({c.data(), a.data(), b.data(), nullptr, nullptr, s.M, s.N, s.K,
                           transpose_a, transpose_b, accumulate, nullptr},
                          pool);
  });
  const double giga = 2e-9 * static_cast<double>(s.M * s.N * s.K);
  fmt::print("{}{} {:5} x {:5} x {:5}   library {:4.0f}   tiles {:4.0f} GFLOP/s\n",
             transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', s.M, s.N, s.K, giga / library,
             giga / tiles);
}

/// y = x W, dx = dy W^T, dW += x^T dy for x [rows, in], W [in, out].
void measure_linear(std::int64_t rows, std::int64_t in, std::int64_t out, ThreadPool& pool) {
  measure_matmul({rows, out, in}, false, false, pool);
  measure_matmul({rows, in, out}, false, true, pool);
  measure_matmul({in, out, rows}, true, false, pool);
}

void measure_attention(const halfpipe::ops::AttentionDims& d, ThreadPool& pool) {
  const auto count = static_cast<std::size_t>(d.B * d.T * d.NH * d.HS);
  std::vector<float> qkv(3 * count);
  for (std::size_t i = 0; i < qkv.size(); ++i) {
    qkv[i] = static_cast<float>(i * 2654435761U % 1000) / 500.0F - 1.0F;
  }
  std::vector<float> out(count);
  std::vector<float> lse(static_cast<std::size_t>(d.B * d.NH * d.T));
  const std::vector<float> dout(count, 0.1F);
  std::vector<float> dqkv(3 * count);
  std::vector<std::byte> scratch(
      std::max(halfpipe::cpu::attention_forward_scratch_bytes(d, pool),
               halfpipe::cpu::attention_backward_scratch_bytes(d, pool)));
  const double forward = best_seconds([&] {
    halfpipe::cpu::attention_forward({out.data(), lse.data(), qkv.data(), d, scratch.data()}, pool);
  });
  const double backward = best_seconds([&] {
    halfpipe::cpu::attention_backward_input(
        {dqkv.data(), dout.data(), qkv.data(), out.data(), lse.data(), d, scratch.data()}, pool);
  });
  // Two products forward, five backward; the half above the diagonal is not counted.
  const double giga = 1e-9 * static_cast<double>(d.B * d.NH * d.T * d.T * d.HS);
  fmt::print("attention B={} T={} NH={} HS={}   forward {:4.0f}   backward {:4.0f} GFLOP/s\n", d.B,
             d.T, d.NH, d.HS, 2 * giga / forward, 5 * giga / backward);
}

}  // namespace

int main(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::max(1, std::atoi(argv[1])) : 1);
  fmt::print("float32, {} threads\n", pool.num_threads());
  for (const std::int64_t out : {384, 1152, 1536, 256}) measure_linear(2048, 384, out, pool);
  measure_linear(2048, 1536, 384, pool);
  measure_linear(2048, 384, 50304, pool);
  measure_linear(768, 128, 384, pool);
  measure_linear(768, 128, 512, pool);
  for (const auto& dims :
       {halfpipe::ops::AttentionDims{8, 256, 6, 64}, halfpipe::ops::AttentionDims{1, 2048, 6, 64},
        halfpipe::ops::AttentionDims{12, 64, 4, 32}}) {
    measure_attention(dims, pool);
  }
}
