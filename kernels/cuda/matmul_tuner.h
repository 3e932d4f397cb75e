// SPDX-License-Identifier: Apache-2.0
// Which of cuBLASLt's algorithms is the quickest for a kind of product: measured where the product
// is first used, on its own operands, so that no memory is needed for it.
#pragma once

#include <string>
#include <utility>

#include "kernels/cuda/matmul_call.h"
#include "kernels/cuda/matmul_plan.h"
#include "kernels/device/tuner.h"

namespace halfpipe::cuda {

/// Runs the product by each algorithm, many times, and waits for it. c holds anything afterwards.
/// Another algorithm than the first is chosen only when it is quicker by 2 percent, so that equally
/// quick ones are seldom exchanged by chance.
[[nodiscard]] device::TunedChoice find_quickest(const MatmulCall& call, MatmulPlans& plans);

class MatmulTuner final : public device::Tuner {
 public:
  /// `plans` must outlive this.
  MatmulTuner(MatmulPlans& plans, int device_index) : plans_(plans), device_index_(device_index) {}

  [[nodiscard]] std::string made_for() const override;
  void use(device::TunedChoices choices) override { plans_.use(std::move(choices)); }
  void begin_measuring() override { plans_.set_measuring(true); }
  device::TunedChoices end_measuring() override;

 private:
  MatmulPlans& plans_;
  int device_index_;
};

}  // namespace halfpipe::cuda
