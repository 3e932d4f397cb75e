// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/matmul_tuner.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "kernels/cuda/algorithm_text.h"
#include "kernels/cuda/cublas_lt.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/cuda_stream.h"

namespace halfpipe::cuda {
namespace {

constexpr int kMostAlgorithms = 8;
// Algorithms take turns, so that a change of the clock meets all of them; of each, the least time
// counts, since whatever disturbs makes it longer.
constexpr int kRounds = 5;
constexpr double kSecondsOfTurn = 1e-3;
constexpr double kMostRepeats = 50.0;
constexpr double kGainWorthAChange = 0.02;

/// Of `repeats` products in a row, each.
double seconds_of(const MatmulCall& call, cublasLtHandle_t handle, MatmulPlan& plan, int repeats) {
  const EventHandle begin;
  const EventHandle end;
  HALFPIPE_CUDA_CHECK(cudaEventRecord(begin.get(), call.stream));
  for (int i = 0; i < repeats; ++i) HALFPIPE_CUBLAS_CHECK(call.enqueue(handle, plan));
  HALFPIPE_CUDA_CHECK(cudaEventRecord(end.get(), call.stream));
  HALFPIPE_CUDA_CHECK(cudaEventSynchronize(end.get()));
  float milliseconds = 0.0F;
  HALFPIPE_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()));
  return 1e-3 * static_cast<double>(milliseconds) / repeats;
}

/// The plans of all algorithms that cuBLASLt proposes and takes, the first one first.
std::vector<MatmulPlan> candidates_of(const MatmulCall& call,
                                      cublasLtHandle_t handle,
                                      MatmulPlan plan) {
  std::vector<MatmulPlan> candidates;
  for (const auto& algorithm : find_algorithms(handle, call.kind, plan, kMostAlgorithms)) {
    plan.algorithm = algorithm;
    const cublasStatus_t status = call.enqueue(handle, plan);
    if (candidates.empty()) HALFPIPE_CUBLAS_CHECK(status);  // the one that is taken without tuning
    if (status == CUBLAS_STATUS_SUCCESS) candidates.push_back(plan);
  }
  return candidates;
}

}  // namespace

device::TunedChoice find_quickest(const MatmulCall& call, MatmulPlans& plans) {
  const MatmulPlan first = plans.plan_for(call.kind);
  cublasLtHandle_t handle = plans.handle();
  std::vector<MatmulPlan> candidates = candidates_of(call, handle, first);
  // The first products load code; the next one says how many make a turn.
  const double estimate = std::max(seconds_of(call, handle, candidates.front(), 2), 1e-9);
  const auto repeats =
      static_cast<int>(std::clamp(std::ceil(kSecondsOfTurn / estimate), 1.0, kMostRepeats));
  std::vector<double> seconds(candidates.size(), INFINITY);
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      seconds[i] = std::min(seconds[i], seconds_of(call, handle, candidates[i], repeats));
    }
  }
  auto best = static_cast<std::size_t>(std::ranges::min_element(seconds) - seconds.begin());
  if (seconds[best] > (1.0 - kGainWorthAChange) * seconds.front()) best = 0;
  return {.algorithm = to_text(candidates[best].algorithm),
          .seconds = seconds[best],
          .first_seconds = seconds.front()};
}

std::string MatmulTuner::made_for() const {
  cudaDeviceProp properties{};
  HALFPIPE_CUDA_CHECK(cudaGetDeviceProperties(&properties, device_index_));
  return fmt::format("{}, cuBLASLt {}", properties.name, cublasLtGetVersion());
}

device::TunedChoices MatmulTuner::end_measuring() {
  plans_.set_measuring(false);
  return plans_.choices();
}

}  // namespace halfpipe::cuda
