// SPDX-License-Identifier: Apache-2.0
// Matrix products on the CPU against the float64 reference; the same bits for any number of threads
// and any place in memory.
#include "kernels/cpu/matmul.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <limits>
#include <ostream>
#include <thread>
#include <vector>

#include "kernels/core/error.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cpu/thread_counts.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/matmul_reference.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::reference {
std::ostream& operator<<(std::ostream& stream, const MatmulShape& s) {
  return stream << s.M << "x" << s.N << "x" << s.K << (s.transpose_a ? " T" : " N")
                << (s.transpose_b ? "T" : "N");
}
}  // namespace halfpipe::reference

namespace halfpipe::cpu {
namespace {

using reference::MatmulShape;
using testing::GuardedBuffer;
using testing::near_reference;
using testing::random_values;
using testing::same_bits;
using Results = std::vector<std::vector<float>>;

// Roundings of a sum of K terms of random sign grow like sqrt(K) * 3e-8 (K <= 2050), relative to a
// result that grows like sqrt(K): about 3e-8 per term of the random walk, measured below 4e-7.
constexpr double kTolerance = 1e-6;

enum class Epilogue { kNone, kBias, kResidual, kResidualInPlace, kBiasAndResidual, kAccumulate };

class MatmulOf : public ::testing::TestWithParam<MatmulShape> {
 protected:
  MatmulShape shape = GetParam();
  std::vector<float> a = random_values("a", shape.M* shape.K);
  std::vector<float> b = random_values("b", shape.K* shape.N);
  std::vector<float> bias = random_values("bias", shape.N);
  std::vector<float> addend = random_values("addend", shape.M* shape.N);

  [[nodiscard]] std::vector<double> expected(Epilogue epilogue) const {
    std::vector<double> c = reference::matmul(shape, a, b);
    const bool adds_bias = epilogue == Epilogue::kBias || epilogue == Epilogue::kBiasAndResidual;
    const bool adds_matrix = epilogue != Epilogue::kNone && epilogue != Epilogue::kBias;
    for (std::size_t i = 0; i < c.size(); ++i) {
      if (adds_bias) c[i] += bias[i % static_cast<std::size_t>(shape.N)];
      if (adds_matrix) c[i] += addend[i];
    }
    return c;
  }

  std::vector<float> run(ThreadPool& pool, Epilogue epilogue) const {
    const bool in_place =
        epilogue == Epilogue::kResidualInPlace || epilogue == Epilogue::kAccumulate;
    const bool has_residual = epilogue == Epilogue::kResidual ||
                              epilogue == Epilogue::kBiasAndResidual ||
                              epilogue == Epilogue::kResidualInPlace;
    const GuardedBuffer<float> a_buffer(a);
    const GuardedBuffer<float> b_buffer(b);
    const GuardedBuffer<float> bias_buffer(bias);
    const GuardedBuffer<float> addend_buffer(addend);
    const GuardedBuffer<float> poisoned(shape.M * shape.N);
    const GuardedBuffer<float>& c = in_place ? addend_buffer : poisoned;
    const bool has_bias = epilogue == Epilogue::kBias || epilogue == Epilogue::kBiasAndResidual;
    const ops::Matmul args{.c = c.get(),
                           .a = a_buffer.get(),
                           .b = b_buffer.get(),
                           .bias_or_null = has_bias ? bias_buffer.get() : nullptr,
                           .residual_or_null = has_residual ? addend_buffer.get() : nullptr,
                           .M = shape.M,
                           .N = shape.N,
                           .K = shape.K,
                           .transpose_a = shape.transpose_a,
                           .transpose_b = shape.transpose_b,
                           .accumulate = epilogue == Epilogue::kAccumulate,
                           .scratch = nullptr};
    EXPECT_EQ(matmul_scratch_bytes(args, pool), 0U);  // so that a null scratch is right
    matmul(args, pool);
    return c.values();
  }

  void expect_matches(Epilogue epilogue) const {
    const Results actual = testing::run_with_any_threads(
        [&](ThreadPool& pool) { return Results{run(pool, epilogue)}; });
    EXPECT_TRUE(near_reference(actual[0], expected(epilogue), kTolerance));
  }
};

TEST_P(MatmulOf, MatchesReference) {
  expect_matches(Epilogue::kNone);
}
TEST_P(MatmulOf, AddsBias) {
  expect_matches(Epilogue::kBias);
}
TEST_P(MatmulOf, AddsResidual) {
  expect_matches(Epilogue::kResidual);
}
TEST_P(MatmulOf, AddsResidualInPlace) {
  expect_matches(Epilogue::kResidualInPlace);
}
TEST_P(MatmulOf, AddsBiasAndResidual) {
  expect_matches(Epilogue::kBiasAndResidual);
}
TEST_P(MatmulOf, Accumulates) {
  expect_matches(Epilogue::kAccumulate);
}

std::vector<MatmulShape> all_shapes() {
  std::vector<MatmulShape> shapes;
  for (const auto& [M, N, K] : {std::array<std::int64_t, 3>{1, 1, 1},
                                {1, 384, 128},        // generation
                                {3, 5, 7},            // nothing is a multiple of anything
                                {17, 130, 65},        //
                                {64, 96, 0},          // an empty sum
                                {129, 257, 33},       // several ragged tiles
                                {768, 384, 128},      // a layer of the debugging model
                                {600, 1000, 40},      // more tiles than wanted
                                {200, 192, 2050}}) {  // few outputs, long sums: a weight gradient
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        shapes.push_back({M, N, K, transpose_a, transpose_b});
      }
    }
  }
  shapes.push_back({24, 50304, 16, false, true});  // a head of a real vocabulary
  return shapes;
}

INSTANTIATE_TEST_SUITE_P(Shapes, MatmulOf, ::testing::ValuesIn(all_shapes()));

TEST(Matmul, DoesNothingForEmptyOutputs) {
  ThreadPool pool(2);
  ops::Matmul args{};
  args.N = 5;
  args.K = 3;
  matmul(args, pool);
}

TEST(Matmul, RefusesBiasWhenItAccumulates) {
  ThreadPool pool(1);
  std::vector<float> ones(4, 1.0F);
  std::vector<float> c(4);
  ops::Matmul args{.c = c.data(),
                   .a = ones.data(),
                   .b = ones.data(),
                   .bias_or_null = ones.data(),
                   .residual_or_null = nullptr,
                   .M = 2,
                   .N = 2,
                   .K = 2,
                   .transpose_a = false,
                   .transpose_b = false,
                   .accumulate = true,
                   .scratch = nullptr};
  EXPECT_THROW(matmul(args, pool), InternalError);
}

// Arenas place the tensors of different schedules at different multiples of 64 bytes.
TEST(Matmul, HasTheSameBitsAnywhereInMemory) {
  const MatmulShape s{144, 200, 333};
  const std::int64_t counts[] = {s.M * s.K, s.K * s.N, s.M * s.N};
  const std::vector<float> a = random_values("a", counts[0]);
  const std::vector<float> b = random_values("b", counts[1]);
  ThreadPool pool(1);
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      std::vector<float> first;
      for (const std::int64_t shift : {0, 16, 48, 1008}) {  // floats
        const GuardedBuffer<float> memory(counts[0] + counts[1] + counts[2] + 4096);
        float* const a_at = memory.get() + shift;
        float* const b_at = a_at + (counts[0] + 15) / 16 * 16 + shift;
        float* const c_at = b_at + (counts[1] + 15) / 16 * 16 + 2 * shift;
        std::copy(a.begin(), a.end(), a_at);
        std::copy(b.begin(), b.end(), b_at);
        matmul({c_at, a_at, b_at, nullptr, nullptr, s.M, s.N, s.K, transpose_a, transpose_b,
                /*accumulate=*/false, nullptr},
               pool);
        const std::vector<float> c(c_at, c_at + counts[2]);
        if (shift == 0) first = c;
        EXPECT_TRUE(same_bits(c, first)) << "shifted by " << shift << " floats";
      }
    }
  }
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

// A job is told to stop by a signal. Shapes with a K of 96 and more: see matmul.cpp.
TEST(Matmul, BearsSignals) {
  const MatmulShape s{32, 64, 128};
  ThreadPool pool(1);
  const std::vector<float> a = random_values("a", s.M * s.K);
  const std::vector<float> b = random_values("b", s.K * s.N);
  std::vector<float> c(static_cast<std::size_t>(s.M * s.N));
  const auto multiply = [&] {
    matmul({c.data(), a.data(), b.data(), nullptr, nullptr, s.M, s.N, s.K, false, false,
            /*accumulate=*/false, nullptr},
           pool);
  };
  multiply();
  const std::vector<float> undisturbed = c;
  const SignalRain rain(::pthread_self());
  // Without the block, a program of nothing but these ends in a corrupted heap after about 100.
  for (int i = 0; i < 20000; ++i) {
    multiply();
    ASSERT_TRUE(same_bits(c, undisturbed)) << "product " << i;
  }
}

TEST(Matmul, PassesOnNaN) {
  ThreadPool pool(1);
  std::vector<float> a(6, 1.0F);
  a[4] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> b(6, 1.0F);
  std::vector<float> c(4);
  matmul({c.data(), a.data(), b.data(), nullptr, nullptr, 2, 2, 3, false, false, false, nullptr},
         pool);
  EXPECT_EQ(c[0], 3.0F);
  EXPECT_TRUE(std::isnan(c[2]));
}

}  // namespace
}  // namespace halfpipe::cpu
