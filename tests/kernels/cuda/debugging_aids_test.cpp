// SPDX-License-Identifier: Apache-2.0
// What helps to find errors and lost time, on the emulated GPU: ranges for profilers, and waiting
// for each operation.
#include <gtest/gtest.h>
#include <nvtx3/nvToolsExt.h>

#include <cuda_runtime.h>

#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/device/buffer.h"
#include "kernels/ops/ops.h"

namespace halfpipe::cuda {
namespace {

TEST(ProfilerRanges, AreThoseOfTheCaller) {
  std::vector<std::string>& ranges = cuda_emulation::profiler_ranges();
  ranges.clear();
  const auto backend = make_cuda_backend(0);
  backend->begin_range("forward of micro-batch 3 on stage 1");
  backend->end_range();
  EXPECT_EQ(ranges, (std::vector<std::string>{"forward of micro-batch 3 on stage 1", ""}));
}

/// Whether a stream is idle after an operation, in an order in which it would run nothing unasked.
bool is_done_after_an_operation(const CudaOptions& options) {
  const auto backend = make_cuda_backend(0, options);
  const auto stream = backend->make_stream("compute");
  const device::Buffer dst(*backend, 400);
  const device::Buffer src(*backend, 400);
  backend->fill_async(dst.bytes_pointer(), std::byte{0}, 400, *stream);
  backend->fill_async(src.bytes_pointer(), std::byte{0}, 400, *stream);
  backend->ops().accumulate({.dst = dst.as<float>(), .src = src.as<float>(), .count = 100},
                            *stream);
  const bool done = static_cast<const CudaStream&>(*stream).idle();
  stream->synchronize();
  return done;
}

TEST(SyncKernels, WaitsForEachOperation) {
  EXPECT_FALSE(is_done_after_an_operation({}));
  EXPECT_TRUE(is_done_after_an_operation({.sync_kernels = true}));
}

}  // namespace
}  // namespace halfpipe::cuda
