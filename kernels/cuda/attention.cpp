// SPDX-License-Identifier: Apache-2.0
// Which algorithm for which operation.
#include "kernels/cuda/attention.h"

#include <string>

#include "kernels/core/error.h"
#include "kernels/cuda/attention_kernels.h"

namespace halfpipe::cuda {
namespace {

bool is_empty(const ops::AttentionDims& dims) {
  return dims.B == 0 || dims.T == 0 || dims.NH == 0 || dims.HS == 0;
}

void check_head_size(std::int64_t HS) {
  HALFPIPE_CHECK(HS <= kMaxHeadSize, "attention on CUDA: heads of " + std::to_string(HS) +
                                         " elements; at most " + std::to_string(kMaxHeadSize) +
                                         " are supported");
}

}  // namespace

void attention_forward(const ops::AttentionForward& args, cudaStream_t stream) {
  if (is_empty(args.dims)) return;
  check_head_size(args.dims.HS);
  if (has_tensor_core_kernel(args.dims, args.dtype)) {
    return attention_forward_tensor_core(args, stream);
  }
  attention_forward_float32(args, stream);
}

std::size_t attention_forward_scratch_bytes(const ops::AttentionDims& /*dims*/, DType /*dtype*/) {
  return 0;
}

void attention_backward_input(const ops::AttentionBackwardInput& args, cudaStream_t stream) {
  if (is_empty(args.dims)) return;
  check_head_size(args.dims.HS);
  if (has_tensor_core_kernel(args.dims, args.dtype)) {
    return attention_backward_tensor_core(args, stream);
  }
  attention_backward_float32(args, stream);
}

std::size_t attention_backward_scratch_bytes(const ops::AttentionDims& dims, DType dtype) {
  if (has_tensor_core_kernel(dims, dtype))
    return attention_backward_tensor_core_scratch_bytes(dims);
  return attention_backward_float32_scratch_bytes(dims, dtype);
}

}  // namespace halfpipe::cuda
