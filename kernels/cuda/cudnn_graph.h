// SPDX-License-Identifier: Apache-2.0
// A graph of cuDNN's operations on tensors of four dimensions, which an engine of cuDNN computes as
// one.
#pragma once

#include <cudnn_graph.h>

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cuda/cudnn_descriptor.h"
#include "kernels/cuda/cudnn_library.h"

namespace halfpipe::cuda {

using CudnnShape = std::array<std::int64_t, 4>;

/// A view: the graph owns the descriptor.
struct CudnnTensor {
  cudnnBackendDescriptor_t descriptor;
  CudnnShape shape;
};

/// Arithmetic is float32 whatever the tensors are. Functions that add an operation take its result
/// first and return it. Calls that fail throw RuntimeFailure.
class CudnnGraph {
 public:
  explicit CudnnGraph(const CudnnLibrary& library) : library_(&library) {}

  /// In memory that is named by its id when the graph is computed: an own one for each of the
  /// graph, below kFirstOwnId. At least 16-byte aligned.
  CudnnTensor in_memory(std::int64_t id,
                        cudnnDataType_t type,
                        const CudnnShape& shape,
                        const CudnnShape& strides);
  /// Between operations of the graph, packed or with these strides.
  CudnnTensor between(cudnnDataType_t type, const CudnnShape& shape);
  CudnnTensor between(cudnnDataType_t type, const CudnnShape& shape, const CudnnShape& strides);
  CudnnTensor constant(float value);

  /// Of the last two dimensions.
  CudnnTensor matmul(CudnnTensor product, CudnnTensor a, CudnnTensor b);
  /// A dimension of b that is 1 stands for as many as there are.
  CudnnTensor pointwise(cudnnPointwiseMode_t mode, CudnnTensor result, CudnnTensor x);
  CudnnTensor pointwise(cudnnPointwiseMode_t mode,
                        CudnnTensor result,
                        CudnnTensor x,
                        CudnnTensor b);
  /// Of booleans.
  CudnnTensor compare(cudnnPointwiseMode_t mode, CudnnTensor result, CudnnTensor x, CudnnTensor b);
  /// The place along an axis, of int32; of `like` counts the shape only.
  CudnnTensor index(CudnnTensor result, CudnnTensor like, std::int64_t axis);
  /// x where `condition` holds, else b.
  CudnnTensor select(CudnnTensor result, CudnnTensor condition, CudnnTensor x, CudnnTensor b);
  /// Along the dimensions of which the result has 1.
  CudnnTensor reduce(cudnnReduceTensorOp_t op, CudnnTensor result, CudnnTensor x);
  /// Of the last two dimensions, as the shape of the result says.
  CudnnTensor transpose(CudnnTensor result, CudnnTensor x);

  [[nodiscard]] const CudnnLibrary& library() const { return *library_; }
  [[nodiscard]] std::vector<cudnnBackendDescriptor_t> operations() const;
  /// By ids: to be named as memory on the host when the graph is computed.
  [[nodiscard]] std::span<const std::pair<std::int64_t, float>> constants() const {
    return constants_;
  }

  static constexpr std::int64_t kFirstOwnId = 1000;

 private:
  CudnnDescriptor start_tensor(cudnnDataType_t type,
                               const CudnnShape& shape,
                               const CudnnShape& strides,
                               std::int64_t id) const;
  cudnnBackendDescriptor_t keep(CudnnDescriptor descriptor);
  CudnnDescriptor pointwise_mode(cudnnPointwiseMode_t mode, cudnnDataType_t arithmetic) const;
  CudnnDescriptor start_pointwise(CudnnDescriptor mode, CudnnTensor result, CudnnTensor x);
  void add(CudnnDescriptor operation);

  const CudnnLibrary* library_;
  std::vector<CudnnDescriptor> kept_;  // tensors, and what operations are made of
  std::vector<CudnnDescriptor> operations_;
  std::vector<std::pair<std::int64_t, float>> constants_;
  std::int64_t next_id_ = kFirstOwnId;
};

}  // namespace halfpipe::cuda
