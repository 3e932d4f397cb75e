// SPDX-License-Identifier: Apache-2.0
// What the emulated cuDNN finds in a graph or in a call of it, each shown by a fault on purpose.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "kernels/core/error.h"
#include "kernels/cuda/cudnn_graph.h"
#include "kernels/cuda/cudnn_library.h"
#include "kernels/cuda/cudnn_plan.h"

namespace halfpipe::cuda {
namespace {

constexpr CudnnShape kShape{1, 1, 2, 2};
constexpr CudnnShape kStrides{4, 4, 2, 1};
constexpr CudnnWorkspace kAny{0, std::size_t{1} << 20};
constexpr std::int64_t kX = 1;
constexpr std::int64_t kY = 2;

template <typename Call>
std::string refusal_of(const Call& call) {
  try {
    call();
    return "";
  } catch (const RuntimeFailure& failure) {
    return failure.what();
  }
}

class CudnnFaults : public ::testing::Test {
 protected:
  CudnnFaults() {
    library.check(library.create(&handle), "cudnnCreate");
    EXPECT_EQ(cudaMalloc(&memory, kBytes), cudaSuccess);
  }
  ~CudnnFaults() override {
    EXPECT_EQ(library.destroy(handle), CUDNN_STATUS_SUCCESS);
    EXPECT_EQ(cudaFree(memory), cudaSuccess);
  }

  /// y = x * x
  [[nodiscard]] CudnnGraph square() const {
    CudnnGraph graph(library);
    const CudnnTensor x = graph.in_memory(kX, CUDNN_DATA_FLOAT, kShape, kStrides);
    const CudnnTensor y = graph.in_memory(kY, CUDNN_DATA_FLOAT, kShape, kStrides);
    graph.pointwise(CUDNN_POINTWISE_MUL, y, x, x);
    return graph;
  }
  [[nodiscard]] std::byte* at(std::size_t offset) const {
    return static_cast<std::byte*>(memory) + offset;
  }
  [[nodiscard]] std::string execute(void* x, void* y, void* workspace) const {
    const CudnnPlan plan(square(), {handle, nullptr}, kAny);
    const std::array<CudnnBinding, 2> bindings{{{kX, x}, {kY, y}}};
    return refusal_of([&] { plan.execute(handle, bindings, workspace); });
  }

  static constexpr std::size_t kBytes = 1024;

  const CudnnLibrary& library = cudnn_library();
  cudnnHandle_t handle = nullptr;
  void* memory = nullptr;
};

TEST_F(CudnnFaults, NoneInAGraphThatIsRight) {
  const std::array<float, 4> x{1.0F, -2.0F, 3.0F, 0.5F};
  EXPECT_EQ(cudaMemcpy(at(0), x.data(), sizeof x, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(execute(at(0), at(256), at(512)), "");
  std::array<float, 4> y{};
  EXPECT_EQ(cudaMemcpy(y.data(), at(256), sizeof y, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(y, (std::array<float, 4>{1.0F, 4.0F, 9.0F, 0.25F}));
}

TEST_F(CudnnFaults, ResultWhereTheGraphReads) {
  EXPECT_NE(execute(at(0), at(0), at(512)).find("a result is where the graph reads"),
            std::string::npos);
}

TEST_F(CudnnFaults, AddressesThatAreNotAligned) {
  EXPECT_NE(execute(at(8), at(256), at(512)).find("a tensor is not aligned"), std::string::npos);
  EXPECT_NE(execute(at(0), at(256), at(520)).find("the workspace is not aligned"),
            std::string::npos);
}

TEST_F(CudnnFaults, TensorWithoutAnAddress) {
  const CudnnPlan plan(square(), {handle, nullptr}, kAny);
  const std::array<CudnnBinding, 1> bindings{{{kX, at(0)}}};
  const std::string reason = refusal_of([&] { plan.execute(handle, bindings, at(512)); });
  EXPECT_NE(reason.find("a tensor has no address"), std::string::npos) << reason;
}

TEST_F(CudnnFaults, TensorReadBeforeItIsWritten) {
  CudnnGraph graph(library);
  const CudnnTensor between = graph.between(CUDNN_DATA_FLOAT, kShape);
  const CudnnTensor y = graph.in_memory(kY, CUDNN_DATA_FLOAT, kShape, kStrides);
  graph.pointwise(CUDNN_POINTWISE_EXP, y, between);
  const std::string reason = refusal_of([&] {
    const CudnnPlan plan(std::move(graph), {handle, nullptr}, kAny);
  });
  EXPECT_NE(reason.find("read before it is written"), std::string::npos) << reason;
}

TEST_F(CudnnFaults, ShapesThatDoNotFitTogether) {
  CudnnGraph graph(library);
  const CudnnTensor a = graph.between(CUDNN_DATA_FLOAT, {1, 1, 2, 3});
  const CudnnTensor b = graph.between(CUDNN_DATA_FLOAT, {1, 1, 2, 4});
  const CudnnTensor product = graph.between(CUDNN_DATA_FLOAT, {1, 1, 2, 4});
  EXPECT_NE(refusal_of([&] { graph.matmul(product, a, b); }).find("shapes of a matrix product"),
            std::string::npos);
}

}  // namespace
}  // namespace halfpipe::cuda
