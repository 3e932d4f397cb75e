// SPDX-License-Identifier: Apache-2.0
#include "tests/kernels/cuda/cuda_environment.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <memory>

#include "kernels/core/error.h"
#include "kernels/cuda/cuda_backend.h"

namespace halfpipe::testing {
namespace {

std::unique_ptr<device::Backend> shared_backend;
std::unique_ptr<device::Stream> shared_stream;

class CudaEnvironment final : public ::testing::Environment {
 public:
  void SetUp() override {
    try {
      shared_backend = cuda::make_cuda_backend(/*device_index=*/0);
      shared_stream = shared_backend->make_stream("tests");
    } catch (const Error& error) {
      // A failure recorded here would list every test as skipped, with a message each.
      std::cerr << "these tests need a GPU: " << error.what() << std::endl;
      std::exit(1);
    }
  }
  void TearDown() override {
    shared_stream.reset();
    shared_backend.reset();
  }
};

// Owned by GoogleTest.
[[maybe_unused]] ::testing::Environment* const environment =
    ::testing::AddGlobalTestEnvironment(new CudaEnvironment);

}  // namespace

device::Backend& cuda_backend() {
  return *shared_backend;
}

device::Stream& cuda_stream() {
  return *shared_stream;
}

}  // namespace halfpipe::testing
