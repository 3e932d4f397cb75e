// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cuda_graph.h"

namespace halfpipe::cuda {
namespace {

/// A graph that was captured, until it is made into one that can be launched.
class CapturedGraph {
 public:
  CapturedGraph(cudaStream_t stream, const std::function<void()>& work) {
    // Other threads, ranks that share the process, may do what a capture forbids.
    HALFPIPE_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    try {
      work();
    } catch (...) {
      (void)cudaStreamEndCapture(stream, &graph_);
      (void)cudaGetLastError();  // the exception says what went wrong
      destroy();
      throw;
    }
    HALFPIPE_CUDA_CHECK(cudaStreamEndCapture(stream, &graph_));
  }
  ~CapturedGraph() { destroy(); }
  CapturedGraph(const CapturedGraph&) = delete;
  CapturedGraph& operator=(const CapturedGraph&) = delete;

  [[nodiscard]] cudaGraph_t get() const noexcept { return graph_; }

 private:
  void destroy() noexcept {
    if (graph_ != nullptr) warn_on_cuda_error(cudaGraphDestroy(graph_), "cudaGraphDestroy");
    graph_ = nullptr;
  }

  cudaGraph_t graph_ = nullptr;
};

}  // namespace

CudaRecording::CudaRecording(CudaStream& stream, const std::function<void()>& work)
    : graph_(CapturedGraph(cuda_stream_of(stream), work).get()) {
  // Else the first launch would copy the graph to the device, in the middle of a step.
  HALFPIPE_CUDA_CHECK(cudaGraphUpload(graph_.get(), stream.get()));
}

void CudaRecording::enqueue(device::Stream& stream) {
  HALFPIPE_CUDA_CHECK(cudaGraphLaunch(graph_.get(), cuda_stream_of(stream)));
}

}  // namespace halfpipe::cuda
