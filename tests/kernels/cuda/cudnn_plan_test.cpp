// SPDX-License-Identifier: Apache-2.0
// The real cuDNN makes plans of attention for an H100 and an A100 that are described to it: no GPU
// is needed, and a stand-in for the driver takes the code that it compiles. This shows that cuDNN
// takes the graphs, and how much workspace it asks for; that they compute attention,
// attention_test.cpp shows.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/cuda/cudnn_attention.h"
#include "kernels/cuda/cudnn_attention_graph.h"
#include "kernels/cuda/cudnn_attention_scratch.h"
#include "kernels/cuda/cudnn_descriptor.h"
#include "kernels/cuda/cudnn_library.h"
#include "kernels/cuda/cudnn_plan.h"

namespace halfpipe::cuda {
namespace {

using ops::AttentionDims;

// The names are cuDNN's, which asks for each of them; the numbers NVIDIA's, of CUDA's programming
// guide and of the data sheets.
constexpr std::string_view kSameInBoth =
    R"("maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
       "regsPerBlock": 65536, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
       "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536, "maxCtasPerSM": 32,
       "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "pciDeviceId": 0, "isTccDriver": 0,
       "supportCoopLaunch": 1, "totalGlobalMem": 85899345920, "cudaDeviceId": 0,
       "driverVer": 13000, )";
constexpr std::string_view kH100 =
    R"("deviceName": "NVIDIA H100 80GB HBM3", "deviceVer": 900, "multiProcessorCount": 132,
       "maxSharedMemoryPerBlockOptin": 232448, "l2CacheSize": 52428800,
       "smClockRateKHz": 1980000, "memClockRateKHz": 2619000)";
constexpr std::string_view kA100 =
    R"("deviceName": "NVIDIA A100-SXM4-80GB", "deviceVer": 800, "multiProcessorCount": 108,
       "maxSharedMemoryPerBlockOptin": 166912, "l2CacheSize": 41943040,
       "smClockRateKHz": 1410000, "memClockRateKHz": 1593000)";

/// Null, with the reason, where cuDNN is not installed.
const CudnnLibrary* library_or_null(std::string& reason) {
  // The loader takes this for libcuda.so.1 from here on, whether there is a driver or not.
  if (::dlopen(HALFPIPE_CUDA_DRIVER_STAND_IN, RTLD_NOW) == nullptr) ADD_FAILURE() << ::dlerror();
  try {
    return &cudnn_library();
  } catch (const RuntimeFailure& failure) {
    reason = failure.what();
    return nullptr;
  }
}

CudnnDescriptor device(const CudnnLibrary& library, std::string_view name) {
  std::string json = "{";
  json.append(kSameInBoth).append(name == "H100" ? kH100 : kA100).append("}");
  CudnnDescriptor properties(library, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  properties.set_all<char>(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json);
  properties.finalize();
  return properties;
}

struct Case {
  std::string_view device;
  AttentionDims dims;
};

std::ostream& operator<<(std::ostream& stream, const Case& c) {
  return stream << c.device << " B" << c.dims.B << " T" << c.dims.T << " NH" << c.dims.NH << " HS"
                << c.dims.HS;
}

class CudnnPlans : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string reason;
    library = library_or_null(reason);
    if (library == nullptr) GTEST_SKIP() << "cuDNN cannot be loaded: " << reason;
  }

  const CudnnLibrary* library = nullptr;
};
class CudnnPlansOf : public CudnnPlans, public ::testing::WithParamInterface<Case> {};

TEST_P(CudnnPlansOf, ExistInBothDirectionsAndNeedWhatIsPlanned) {
  const auto& [name, dims] = GetParam();
  ASSERT_EQ(why_never_by_cudnn(dims, DType::kBFloat16), "");
  const CudnnDescriptor properties = device(*library, name);
  const CudnnTarget target{nullptr, &properties};
  const CudnnPlan forward(attention_forward_graph(*library, dims), target,
                          cudnn_forward_workspace());
  EXPECT_LE(forward.workspace_bytes(), cudnn_forward_workspace().most_bytes);
  // With all gradients of scores: the form that adds parts to dq in any order needs no square.
  const CudnnWorkspace expected = cudnn_backward_workspace(dims);
  EXPECT_EQ(expected.least_bytes, static_cast<std::size_t>(dims.B * dims.NH * dims.T * dims.T) * 2);
  const CudnnPlan backward(attention_backward_graph(*library, dims), target, expected);
  EXPECT_GE(backward.workspace_bytes(), expected.least_bytes);
  EXPECT_LE(backward.workspace_bytes(), expected.most_bytes);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string_view name : {"H100", "A100"}) {
    for (const AttentionDims& dims :
         {AttentionDims{8, 1024, 16, 64}, AttentionDims{4, 4096, 16, 128},
          AttentionDims{2, 1000, 12, 96}, AttentionDims{1, 2, 1, 8}}) {
      all.push_back({name, dims});
    }
  }
  return all;
}
INSTANTIATE_TEST_SUITE_P(Shapes, CudnnPlansOf, ::testing::ValuesIn(cases()));

std::string refusal_of(const CudnnLibrary& library,
                       const AttentionDims& dims,
                       const CudnnWorkspace& workspace) {
  const CudnnDescriptor properties = device(library, "H100");
  try {
    const CudnnPlan plan(attention_backward_graph(library, dims), {nullptr, &properties},
                         workspace);
    return "";
  } catch (const RuntimeFailure& failure) {
    return failure.what();
  }
}

TEST_F(CudnnPlans, AreRefusedForHeadsThatNoEngineTakes) {
  const AttentionDims odd{1, 128, 2, 20};
  const std::string reason = refusal_of(*library, odd, {0, std::size_t{1} << 40});
  EXPECT_NE(reason.find(library->name() + ": it has no engine"), std::string::npos) << reason;
}

TEST_F(CudnnPlans, AreRefusedWhenTheyNeedAnotherWorkspaceThanExpected) {
  const AttentionDims dims{1, 256, 2, 64};
  const std::string too_much = refusal_of(*library, dims, {0, 1000});
  EXPECT_NE(too_much.find("of workspace; expected are 0 to 1000"), std::string::npos) << too_much;
  const std::size_t more = std::size_t{1} << 30;
  EXPECT_NE(refusal_of(*library, dims, {more, 2 * more}), "");
}

TEST(CudnnLibraryLoading, SaysWhichFileIsNotThere) {
  try {
    (void)load_cudnn("libcudnn_of_nobody.so.9");
    FAIL() << "loaded a library that does not exist";
  } catch (const RuntimeFailure& failure) {
    EXPECT_NE(std::string(failure.what()).find("libcudnn_of_nobody.so.9"), std::string::npos);
  }
}

TEST(CudnnLibraryLoading, SaysThatAnotherLibraryIsNotCudnn) {
  try {
    (void)load_cudnn(HALFPIPE_CUDA_DRIVER_STAND_IN);
    FAIL() << "took a stand-in for cuDNN";
  } catch (const RuntimeFailure& failure) {
    EXPECT_NE(std::string(failure.what()).find("has no cudnnGetVersion"), std::string::npos);
  }
}

}  // namespace
}  // namespace halfpipe::cuda
