// SPDX-License-Identifier: Apache-2.0
// What every way of multiplying on the CPU bears: any place in memory, NaN, signals.
#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "kernels/core/align.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cpu/matmul_ways.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/matmul_reference.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::cpu {
namespace {

using reference::MatmulShape;
using testing::GuardedBuffer;
using testing::MatmulWay;
using testing::random_values;
using testing::same_bits;
using testing::to_elements;
using testing::to_float32;
using testing::with_elements;

class EveryMatmulWay : public ::testing::TestWithParam<MatmulWay> {
 protected:
  MatmulWay way = GetParam();
  ThreadPool pool{1};

  void SetUp() override {
    if (!way.exists()) GTEST_SKIP() << testing::kWayIsMissing;
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, EveryMatmulWay, ::testing::ValuesIn(testing::kMatmulWays));

// Arenas place the tensors of different schedules at different multiples of 64 bytes.
TEST_P(EveryMatmulWay, HasTheSameBitsAnywhereInMemory) {
  with_elements(way.dtype, [&]<typename T>(T) {
    constexpr std::int64_t kLine = 64 / sizeof(T);
    const MatmulShape s{144, 200, 333};
    const std::int64_t counts[] = {s.M * s.K, s.K * s.N, s.M * s.N};
    const std::vector<T> a = to_elements<T>(random_values("a", counts[0]));
    const std::vector<T> b = to_elements<T>(random_values("b", counts[1]));
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        std::vector<float> first;
        for (const std::int64_t shift : {0, 1, 3, 63}) {  // lines
          const GuardedBuffer<T> memory(counts[0] + counts[1] + counts[2] + 256 * kLine);
          T* const a_at = memory.get() + shift * kLine;
          T* const b_at = a_at + round_up(counts[0], kLine) + shift * kLine;
          T* const c_at = b_at + round_up(counts[1], kLine) + 2 * shift * kLine;
          std::copy(a.begin(), a.end(), a_at);
          std::copy(b.begin(), b.end(), b_at);
          way.run({c_at, a_at, b_at, nullptr, nullptr, s.M, s.N, s.K, transpose_a, transpose_b,
                   /*accumulate=*/false, nullptr},
                  pool);
          const std::vector<float> c = to_float32(std::vector<T>(c_at, c_at + counts[2]));
          if (shift == 0) first = c;
          EXPECT_TRUE(same_bits(c, first)) << "shifted by " << shift << " lines";
        }
      }
    }
  });
}

TEST_P(EveryMatmulWay, PassesOnNaN) {
  with_elements(way.dtype, [&]<typename T>(T) {
    std::vector<float> values(6, 1.0F);
    const std::vector<T> b = to_elements<T>(values);
    values[4] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<T> a = to_elements<T>(values);
    std::vector<T> elements(4);
    way.run({elements.data(), a.data(), b.data(), nullptr, nullptr, 2, 2, 3, false, false, false,
             nullptr},
            pool);
    const std::vector<float> c = to_float32(elements);
    EXPECT_EQ(c[0], 3.0F);
    EXPECT_TRUE(std::isnan(c[2]));
  });
}

extern "C" void handle_nothing(int /*signal*/) {}

/// Sends SIGUSR2 to one thread every 50 us while it lives.
class SignalRain {
 public:
  explicit SignalRain(pthread_t target) : previous_(std::signal(SIGUSR2, handle_nothing)) {
    sender_ = std::jthread([target](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        ::pthread_kill(target, SIGUSR2);
      }
    });
  }
  ~SignalRain() {
    sender_.request_stop();
    sender_.join();
    std::signal(SIGUSR2, previous_);
  }
  SignalRain(const SignalRain&) = delete;
  SignalRain& operator=(const SignalRain&) = delete;

 private:
  void (*previous_)(int);
  std::jthread sender_;
};

// A job is told to stop by a signal. Shapes with a K of 96 and more: see matmul_tiles.h.
TEST_P(EveryMatmulWay, BearsSignals) {
  with_elements(way.dtype, [&]<typename T>(T) {
    const MatmulShape s{32, 64, 128};
    const std::vector<T> a = to_elements<T>(random_values("a", s.M * s.K));
    const std::vector<T> b = to_elements<T>(random_values("b", s.K * s.N));
    std::vector<T> c(static_cast<std::size_t>(s.M * s.N));
    ops::Matmul args{c.data(), a.data(), b.data(), nullptr, nullptr, s.M,
                     s.N,      s.K,      false,    false,   false,   nullptr};
    args.dtype = way.dtype;
    std::vector<std::uint8_t> scratch(way.scratch_bytes(args, pool));
    args.scratch = scratch.data();
    way.multiply(args, pool);
    const std::vector<T> undisturbed = c;
    const SignalRain rain(::pthread_self());
    // Without the block, a program of nothing but these ends in a corrupted heap after about 100.
    for (int i = 0; i < 20000; ++i) {
      way.multiply(args, pool);
      ASSERT_EQ(std::memcmp(c.data(), undisturbed.data(), c.size() * sizeof(T)), 0)
          << "product " << i;
    }
  });
}

}  // namespace
}  // namespace halfpipe::cpu
