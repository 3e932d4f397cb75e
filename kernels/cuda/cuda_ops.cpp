// SPDX-License-Identifier: Apache-2.0
// Forwards every operation to the function of its name.
#include "kernels/cuda/cuda_ops.h"

#include "kernels/cuda/activation.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cross_entropy.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/embedding.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/optimizer.h"
#include "kernels/cuda/reduction.h"

namespace halfpipe::cuda {

void CudaOps::embedding_forward(const ops::EmbeddingForward& args, device::Stream& stream) const {
  cuda::embedding_forward(args, cuda_stream_of(stream));
}

void CudaOps::embedding_backward_weight(const ops::EmbeddingBackwardWeight& args,
                                        device::Stream& stream) const {
  cuda::embedding_backward_weight(args, cuda_stream_of(stream));
}

void CudaOps::layer_norm_forward(const ops::LayerNormForward& args, device::Stream& stream) const {
  cuda::layer_norm_forward(args, cuda_stream_of(stream));
}

void CudaOps::layer_norm_backward_input(const ops::LayerNormBackwardInput& args,
                                        device::Stream& stream) const {
  cuda::layer_norm_backward_input(args, cuda_stream_of(stream));
}

void CudaOps::layer_norm_backward_weight(const ops::LayerNormBackwardWeight& args,
                                         device::Stream& stream) const {
  cuda::layer_norm_backward_weight(args, cuda_stream_of(stream));
}

void CudaOps::matmul(const ops::Matmul& args, device::Stream& stream) const {
  cuda::matmul(args, matmul_plans_, cuda_stream_of(stream));
}

std::size_t CudaOps::matmul_scratch_bytes(const ops::Matmul& args) const {
  return cuda::matmul_scratch_bytes(args);
}

void CudaOps::gelu_forward(const ops::GeluForward& args, device::Stream& stream) const {
  cuda::gelu_forward(args, cuda_stream_of(stream));
}

void CudaOps::gelu_backward_input(const ops::GeluBackwardInput& args,
                                  device::Stream& stream) const {
  cuda::gelu_backward_input(args, cuda_stream_of(stream));
}

void CudaOps::attention_forward(const ops::AttentionForward& args, device::Stream& stream) const {
  cuda::attention_forward(args, cuda_stream_of(stream));
}

std::size_t CudaOps::attention_forward_scratch_bytes(const ops::AttentionDims& dims,
                                                     DType dtype) const {
  return cuda::attention_forward_scratch_bytes(dims, dtype);
}

void CudaOps::attention_backward_input(const ops::AttentionBackwardInput& args,
                                       device::Stream& stream) const {
  cuda::attention_backward_input(args, cuda_stream_of(stream));
}

std::size_t CudaOps::attention_backward_scratch_bytes(const ops::AttentionDims& dims,
                                                      DType dtype) const {
  return cuda::attention_backward_scratch_bytes(dims, dtype);
}

void CudaOps::attention_decode(const ops::AttentionDecode& args, device::Stream& stream) const {
  cuda::attention_decode(args, cuda_stream_of(stream));
}

void CudaOps::cross_entropy(const ops::CrossEntropy& args, device::Stream& stream) const {
  cuda::cross_entropy(args, cuda_stream_of(stream));
}

void CudaOps::adamw(const ops::AdamW& args, device::Stream& stream) const {
  cuda::adamw(args, cuda_stream_of(stream));
}

void CudaOps::sum_of_squares(const ops::SumOfSquares& args, device::Stream& stream) const {
  cuda::sum_of_squares(args, cuda_stream_of(stream));
}

std::size_t CudaOps::sum_of_squares_scratch_bytes(std::int64_t count) const {
  return cuda::sum_of_squares_scratch_bytes(count);
}

void CudaOps::accumulate(const ops::Accumulate& args, device::Stream& stream) const {
  cuda::accumulate(args, cuda_stream_of(stream));
}

void CudaOps::column_sum(const ops::ColumnSum& args, device::Stream& stream) const {
  cuda::column_sum(args, cuda_stream_of(stream));
}

void CudaOps::round_to_bfloat16(const ops::RoundToBFloat16& args, device::Stream& stream) const {
  cuda::round_to_bfloat16(args, cuda_stream_of(stream));
}

}  // namespace halfpipe::cuda
