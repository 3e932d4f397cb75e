// SPDX-License-Identifier: Apache-2.0
// How many kernels a step of many parameters launches, on an emulated GPU.
#include <gtest/gtest.h>

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

#include "engine/optimizer/adamw.h"
#include "engine/runtime/step/early_step.h"
#include "engine/runtime/step/gradient_squares.h"
#include "kernels/core/align.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/cuda_emulation/kernel_launch.h"

namespace halfpipe::runtime {
namespace {

/// As many parameters as GPT-2 1558M has, of few elements.
class UpdateOf48Layers : public ::testing::Test {
 protected:
  UpdateOf48Layers()
      : backend_(cuda::make_cuda_backend(0)), stream_(backend_->make_stream("test")) {
    config_.model.num_layers = 48;
    config_.model.num_heads = 1;
    config_.model.hidden_size = 4;
    config_.model.seq_len = 4;
    config_.model.vocab_size = 8;
    config_.model.dtype = DType::kBFloat16;
    config_.optimizer.post_validation = "on";
    config_.optimizer.clip_grad_norm = 1.0;
    const auto specs = model::all_parameters(config_.model);
    for (const auto& spec : specs) parameters_.add(specs, spec.name);
    parameters_.allocate(*backend_, config_.model.dtype);
    for (const device::Buffer* buffer : {&parameters_.values(), &parameters_.gradients()}) {
      backend_->fill_async(buffer->bytes_pointer(), std::byte{0}, buffer->bytes(), *stream_);
    }
    adamw_ =
        std::make_unique<optimizer::AdamW>(config_.optimizer, /*seed=*/1, parameters_, *backend_);
  }

  template <typename Work>
  [[nodiscard]] std::int64_t launches_of(const Work& work) {
    const std::int64_t before = cuda_emulation::num_launches();
    work();
    stream_->synchronize();
    return cuda_emulation::num_launches() - before;
  }

  std::unique_ptr<device::Backend> backend_;
  std::unique_ptr<device::Stream> stream_;
  config::RunConfig config_;
  model::ParameterSet parameters_;
  std::unique_ptr<optimizer::AdamW> adamw_;
};

// A launch takes 48 pieces of AdamW, and 112 of the norm (kernels/cuda/optimizer.cu, reduction.cu).
TEST_F(UpdateOf48Layers, TakesADozenLaunchesNotOneAParameter) {
  constexpr std::int64_t kParameters = 580;
  ASSERT_EQ(std::ssize(parameters_.all()), kParameters);
  EXPECT_EQ(launches_of([&] { adamw_->step(1, 1e-3, 1.0, *stream_); }),
            ceil_div<std::int64_t>(kParameters, 48));
  EarlyStep early(config_, *adamw_, parameters_, *backend_, 0);
  EXPECT_EQ(launches_of([&] {
              early.show({.step = 2, .learning_rate = 1e-3, .grad_scale = 1.0}, *stream_);
            }),
            ceil_div<std::int64_t>(kParameters, 48));
}

TEST_F(UpdateOf48Layers, TakesAFewLaunchesForTheNorm) {
  device::Buffer memory(*backend_, GradientSquares::bytes_for(parameters_.all(), *backend_));
  device::Arena workspace(memory.bytes_pointer(), memory.bytes());
  GradientSquares squares(parameters_, {optimizer::all_elements(parameters_.all())}, *backend_,
                          nullptr);
  EXPECT_EQ(launches_of([&] { squares.start(workspace, *stream_); }),
            ceil_div<std::int64_t>(580, 112));
}

}  // namespace
}  // namespace halfpipe::runtime
