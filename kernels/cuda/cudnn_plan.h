// SPDX-License-Identifier: Apache-2.0
// A graph of cuDNN's as one of its engines computes it on one kind of device.
#pragma once

#include <cudnn_graph.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/cudnn_descriptor.h"
#include "kernels/cuda/cudnn_graph.h"
#include "kernels/cuda/cudnn_workspace.h"

namespace halfpipe::cuda {

/// What a plan is made for; one of the two.
struct CudnnTarget {
  cudnnHandle_t handle_or_null;                      // the device of a context
  const CudnnDescriptor* device_properties_or_null;  // a device that need not be there
};

/// Memory of a tensor of the graph, by its id.
struct CudnnBinding {
  std::int64_t id;
  void* memory;
};

class CudnnPlan {
 public:
  /// The first that cuDNN's heuristic proposes and takes, with such a workspace: the same for the
  /// same graph, library and kind of device. Throws RuntimeFailure, with what is wrong with the
  /// first proposal, when there is none.
  CudnnPlan(CudnnGraph graph, const CudnnTarget& target, const CudnnWorkspace& workspace);

  [[nodiscard]] std::size_t workspace_bytes() const { return workspace_bytes_; }
  /// On the stream of the context, which is of the plan's device. Constants need no binding.
  void execute(cudnnHandle_t handle, std::span<const CudnnBinding> bindings, void* workspace) const;

 private:
  CudnnGraph graph_;  // cuDNN does not say how long it refers to it
  CudnnDescriptor operations_;
  std::vector<CudnnDescriptor> proposals_;
  CudnnDescriptor plan_;
  std::size_t workspace_bytes_ = 0;
};

}  // namespace halfpipe::cuda
