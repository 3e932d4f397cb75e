// SPDX-License-Identifier: Apache-2.0
// The float32 multiply-adds that all cores can do at the same moment, from operands that never
// leave L1: the ceiling of every program that multiplies matrices there.
// Usage: cpu_peak_bench [num_threads] [seconds]; prints GFLOP/s.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "kernels/cpu/register_tile.h"
#include "kernels/cpu/thread_pool.h"

namespace {

using namespace halfpipe::cpu;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kTerms = 256;  // 6 KiB of a and 16 KiB of b on AVX2
constexpr int kTilesAtOnce = 1000;    // some 2 ms
constexpr double kFlopsAtOnce =
    2.0 * static_cast<double>(kTilesAtOnce * kTerms * kRegisterRows * kRegisterColumns);

/// Multiplies until the deadline; returns FLOPs.
double multiply_until(Clock::time_point deadline) {
  const std::vector<float> a(static_cast<std::size_t>(kRegisterRows * kTerms), 0.5F);
  const std::vector<float> b(static_cast<std::size_t>(kRegisterColumns * kTerms), 0.25F);
  std::vector<float> c(static_cast<std::size_t>(kRegisterRows * kRegisterColumns));
  const RegisterOperands operands{a.data(), 1, kRegisterRows, b.data(), kRegisterColumns, kTerms};
  double flops = 0.0;
  while (Clock::now() < deadline) {
    for (int i = 0; i < kTilesAtOnce; ++i) {
      multiply_registers<kRegisterRows, kRegisterVectors>(
          operands, [&](std::int64_t row, std::int64_t vector, FloatVector sum) {
            float* const at = c.data() + row * kRegisterColumns + vector * kVectorLanes;
            store_vector(at, load_vector(at) + sum);
          });
    }
    flops += kFlopsAtOnce;
  }
  return flops;
}

}  // namespace

int main(int argc, char** argv) {
  const int num_threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  const double seconds = argc > 2 ? std::atof(argv[2]) : 1.0;
  ThreadPool pool(num_threads);
  std::vector<double> flops(static_cast<std::size_t>(num_threads));
  std::atomic<int> num_started = 0;
  const auto start = Clock::now();
  pool.parallel_for(num_threads, [&](std::int64_t /*task*/) {
    ++num_started;
    while (num_started < num_threads) {  // every thread takes a task: none takes two
    }
    flops[static_cast<std::size_t>(ThreadPool::thread_index())] =
        multiply_until(start + std::chrono::duration_cast<Clock::duration>(
                                   std::chrono::duration<double>(seconds)));
  });
  const std::chrono::duration<double> elapsed = Clock::now() - start;
  double sum = 0.0;
  for (const double value : flops) sum += value;
  fmt::print("{:.1f}\n", sum / elapsed.count() * 1e-9);
}
