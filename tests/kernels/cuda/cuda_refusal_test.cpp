// SPDX-License-Identifier: Apache-2.0
// What a machine or a build says that cannot give the GPU asked for. Runs anywhere.
#include "kernels/cuda/cuda_backend.h"

#include <gtest/gtest.h>

#include <string>

#include "kernels/core/error.h"
#include "kernels/ops/ops.h"

namespace halfpipe::cuda {
namespace {

TEST(CudaRefusal, SaysWhyThereIsNoSuchDevice) {
  try {
    (void)make_cuda_backend(1000);
    FAIL() << "made a backend of GPU 1000";
  } catch (const ConfigError& error) {
    EXPECT_FALSE(cuda_available());
    EXPECT_NE(std::string(error.what()).find("HALFPIPE_CUDA=ON"), std::string::npos);
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("there is no GPU 1000"), std::string::npos);
  } catch (const RuntimeFailure& error) {
    EXPECT_TRUE(cuda_available());
    EXPECT_NE(std::string(error.what()).find("no usable NVIDIA GPU: "), std::string::npos);
  }
}

// A plan must be possible before the machines are there.
TEST(CudaPlanner, KnowsScratchWithoutADevice) {
  if (!cuda_available()) {
    EXPECT_THROW((void)make_cuda_planner(), ConfigError);
    return;
  }
  const auto planner = make_cuda_planner();
  ops::Matmul product{};
  EXPECT_EQ(planner->ops().matmul_scratch_bytes(product), 0U);
  product.M = product.N = product.K = 128;
  EXPECT_GT(planner->ops().matmul_scratch_bytes(product), 0U);
  const ops::AttentionDims dims{.B = 1, .T = 256, .NH = 2, .HS = 64};
  EXPECT_GT(planner->ops().attention_backward_scratch_bytes(dims, DType::kBFloat16), 0U);
  const ops::ColumnSum column_sum{nullptr, nullptr, 8192, 1600, nullptr, DType::kBFloat16};
  EXPECT_GT(planner->ops().column_sum_scratch_bytes(column_sum), 0U);
  ops::LayerNormBackwardWeight norm{};
  norm.N = 8192;
  norm.C = 1600;
  EXPECT_GT(planner->ops().layer_norm_backward_weight_scratch_bytes(norm), 0U);
  EXPECT_THROW((void)planner->allocate(1, device::MemoryKind::kDevice), InternalError);
  EXPECT_THROW((void)planner->make_event(), InternalError);
}

std::size_t planned_scratch(AttentionChoice choice,
                            const ops::AttentionDims& dims,
                            DType dtype = DType::kBFloat16) {
  return make_cuda_planner({.attention = choice})
      ->ops()
      .attention_backward_scratch_bytes(dims, dtype);
}

// The same whether a machine has cuDNN or not.
TEST(CudaPlanner, KnowsScratchOfEveryChoiceOfAttention) {
  if (!cuda_available()) GTEST_SKIP() << "a build without CUDA";
  const ops::AttentionDims dims{.B = 2, .T = 1000, .NH = 4, .HS = 64};
  const std::size_t flash = planned_scratch(AttentionChoice::kFlash, dims);
  const std::size_t cudnn = planned_scratch(AttentionChoice::kCudnn, dims);
  EXPECT_GT(cudnn, std::size_t{2 * 4 * 1024 * 1024 * 2});  // scores in bfloat16
  EXPECT_LT(cudnn, std::size_t{2 * 4 * 1024 * 1024 * 2} + (std::size_t{4} << 20));
  EXPECT_EQ(planned_scratch(AttentionChoice::kAuto, dims), cudnn);
  // What auto never takes: other types, too much scratch.
  EXPECT_EQ(planned_scratch(AttentionChoice::kAuto, dims, DType::kFloat32),
            planned_scratch(AttentionChoice::kFlash, dims, DType::kFloat32));
  const ops::AttentionDims large{.B = 4, .T = 4096, .NH = 16, .HS = 128};
  EXPECT_GT(planned_scratch(AttentionChoice::kCudnn, large), kMostScratchOfAuto);
  EXPECT_EQ(planned_scratch(AttentionChoice::kAuto, large),
            planned_scratch(AttentionChoice::kFlash, large));
  EXPECT_LT(flash, cudnn);
}

TEST(CudaPlanner, RefusesWhatCudnnNeverTakes) {
  if (!cuda_available()) GTEST_SKIP() << "a build without CUDA";
  const ops::AttentionDims dims{.B = 1, .T = 16, .NH = 2, .HS = 64};
  check_attention_choice(AttentionChoice::kCudnn, dims, DType::kBFloat16);
  check_attention_choice(AttentionChoice::kAuto, dims, DType::kFloat32);
  try {
    check_attention_choice(AttentionChoice::kCudnn, dims, DType::kFloat32);
    FAIL() << "cuDNN was taken for float32";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("device.attention (cudnn): cuDNN's fused attention"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace halfpipe::cuda
