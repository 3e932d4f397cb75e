// SPDX-License-Identifier: Apache-2.0
// CUDA graphs: what a stream was given, captured and launched as one.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <utility>

#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/device/recording.h"

namespace halfpipe::cuda {

/// Owns a graph that can be launched. A moved-from object owns nothing.
class GraphHandle {
 public:
  /// Takes what device memory the graph needs.
  explicit GraphHandle(cudaGraph_t graph) {
    HALFPIPE_CUDA_CHECK(cudaGraphInstantiate(&handle_, graph, /*flags=*/0));
  }
  ~GraphHandle() { reset(); }
  GraphHandle(GraphHandle&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  GraphHandle& operator=(GraphHandle&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  GraphHandle(const GraphHandle&) = delete;
  GraphHandle& operator=(const GraphHandle&) = delete;

  [[nodiscard]] cudaGraphExec_t get() const noexcept { return handle_; }

 private:
  void reset() noexcept {
    if (handle_ != nullptr)
      warn_on_cuda_error(cudaGraphExecDestroy(handle_), "cudaGraphExecDestroy");
    handle_ = nullptr;
  }

  cudaGraphExec_t handle_ = nullptr;
};

/// What `work` enqueues on the stream, which runs none of it. Afterwards the stream is as before,
/// also when `work` throws.
class CudaRecording final : public device::Recording {
 public:
  CudaRecording(CudaStream& stream, const std::function<void()>& work);
  void enqueue(device::Stream& stream) override;

 private:
  GraphHandle graph_;
};

}  // namespace halfpipe::cuda
