// SPDX-License-Identifier: Apache-2.0
// Graphs of captured work: tests/cuda_emulation/runtime_api.h.
#include <vector>

#include "tests/cuda_emulation/graph_capture.h"
#include "tests/cuda_emulation/last_error.h"
#include "tests/cuda_emulation/stream_queue.h"

using namespace halfpipe::cuda_emulation;

struct CUgraph_st {
  std::vector<CapturedWork> work;
};
struct CUgraphExec_st {
  std::vector<CapturedWork> work;
};

namespace {

// The capture of this thread: modes that reach other threads are refused.
thread_local bool t_captures = false;
thread_local bool t_is_spoilt = false;

}  // namespace

cudaError_t halfpipe::cuda_emulation::check_not_capturing(cudaStream_t stream) {
  if (!is_capturing(stream)) return cudaSuccess;
  t_is_spoilt = true;
  return remember(cudaErrorStreamCaptureUnsupported);
}

cudaError_t halfpipe::cuda_emulation::check_thread_captures_nothing() {
  if (!t_captures) return cudaSuccess;
  t_is_spoilt = true;
  return remember(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr || is_capturing(stream) || t_captures) {
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  if (mode != cudaStreamCaptureModeThreadLocal) return remember(cudaErrorInvalidValue);
  t_captures = true;
  t_is_spoilt = false;
  begin_capture(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!is_capturing(stream)) return remember(cudaErrorInvalidValue);
  t_captures = false;
  std::vector<CapturedWork> work = end_capture(stream);
  if (t_is_spoilt) return remember(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st{std::move(work)};
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable,
                                 cudaGraph_t graph,
                                 unsigned long long /*flags*/) {
  if (graph == nullptr) return remember(cudaErrorInvalidValue);
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t /*executable*/, cudaStream_t stream) {
  return check_not_capturing(stream);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  for (const CapturedWork& work : executable->work) {
    enqueue_attempts(stream, work.name, work.attempt);
  }
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
