// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cuda_ops.h"

#include <cuda_runtime.h>

#include <algorithm>

#include <fmt/format.h>

#include "kernels/core/error.h"
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
namespace {

std::size_t scratch_of_choice(AttentionChoice choice,
                              const ops::AttentionDims& dims,
                              DType dtype,
                              std::size_t flash_bytes,
                              std::size_t cudnn_bytes) {
  switch (choice) {
    case AttentionChoice::kFlash:
      return flash_bytes;
    case AttentionChoice::kCudnn:
      return cudnn_bytes;
    case AttentionChoice::kAuto:
      return auto_may_take_cudnn(dims, dtype) ? std::max(flash_bytes, cudnn_bytes) : flash_bytes;
  }
  fail_check("choice", "an unknown choice of attention");
}

}  // namespace

template <typename Enqueue>
void CudaOps::run(const char* name, device::Stream& stream, const Enqueue& enqueue) const {
  const cudaStream_t queue = cuda_stream_of(stream);
  enqueue(queue);
  if (!options_.sync_kernels) return;
  const cudaError_t status = cudaStreamSynchronize(queue);
  if (status == cudaSuccess) return;
  throw RuntimeFailure(
      fmt::format("operation {} failed on the GPU: {}", name, cudaGetErrorString(status)));
}

void CudaOps::embedding_forward(const ops::EmbeddingForward& args, device::Stream& stream) const {
  run("embedding_forward", stream,
      [&](cudaStream_t queue) { cuda::embedding_forward(args, queue); });
}

void CudaOps::embedding_backward_weight(const ops::EmbeddingBackwardWeight& args,
                                        device::Stream& stream) const {
  run("embedding_backward_weight", stream,
      [&](cudaStream_t queue) { cuda::embedding_backward_weight(args, queue); });
}

void CudaOps::layer_norm_forward(const ops::LayerNormForward& args, device::Stream& stream) const {
  run("layer_norm_forward", stream,
      [&](cudaStream_t queue) { cuda::layer_norm_forward(args, queue); });
}

void CudaOps::layer_norm_backward_input(const ops::LayerNormBackwardInput& args,
                                        device::Stream& stream) const {
  run("layer_norm_backward_input", stream,
      [&](cudaStream_t queue) { cuda::layer_norm_backward_input(args, queue); });
}

void CudaOps::layer_norm_backward_weight(const ops::LayerNormBackwardWeight& args,
                                         device::Stream& stream) const {
  run("layer_norm_backward_weight", stream,
      [&](cudaStream_t queue) { cuda::layer_norm_backward_weight(args, queue); });
}

std::size_t CudaOps::layer_norm_backward_weight_scratch_bytes(
    const ops::LayerNormBackwardWeight& args) const {
  return cuda::layer_norm_backward_weight_scratch_bytes(args);
}

void CudaOps::matmul(const ops::Matmul& args, device::Stream& stream) const {
  run("matmul", stream, [&](cudaStream_t queue) { cuda::matmul(args, matmul_plans_, queue); });
}

std::size_t CudaOps::matmul_scratch_bytes(const ops::Matmul& args) const {
  return cuda::matmul_scratch_bytes(args);
}

void CudaOps::gelu_forward(const ops::GeluForward& args, device::Stream& stream) const {
  run("gelu_forward", stream, [&](cudaStream_t queue) { cuda::gelu_forward(args, queue); });
}

void CudaOps::gelu_backward_input(const ops::GeluBackwardInput& args,
                                  device::Stream& stream) const {
  run("gelu_backward_input", stream,
      [&](cudaStream_t queue) { cuda::gelu_backward_input(args, queue); });
}

void CudaOps::attention_forward(const ops::AttentionForward& args, device::Stream& stream) const {
  run("attention_forward", stream, [&](cudaStream_t queue) {
    if (options_.attention == AttentionChoice::kCudnn) {
      return cudnn_attention_.forward(args, queue);
    }
    cuda::attention_forward(args, queue);
  });
}

std::size_t CudaOps::attention_forward_scratch_bytes(const ops::AttentionDims& dims,
                                                     DType dtype) const {
  return scratch_of_choice(options_.attention, dims, dtype,
                           cuda::attention_forward_scratch_bytes(dims, dtype),
                           cudnn_attention_forward_scratch_bytes(dims));
}

void CudaOps::attention_backward_input(const ops::AttentionBackwardInput& args,
                                       device::Stream& stream) const {
  run("attention_backward_input", stream, [&](cudaStream_t queue) {
    if (options_.attention == AttentionChoice::kCudnn) {
      return cudnn_attention_.backward_input(args, queue);
    }
    cuda::attention_backward_input(args, queue);
  });
}

std::size_t CudaOps::attention_backward_scratch_bytes(const ops::AttentionDims& dims,
                                                      DType dtype) const {
  return scratch_of_choice(options_.attention, dims, dtype,
                           cuda::attention_backward_scratch_bytes(dims, dtype),
                           cudnn_attention_backward_scratch_bytes(dims));
}

void CudaOps::attention_decode(const ops::AttentionDecode& args, device::Stream& stream) const {
  run("attention_decode", stream, [&](cudaStream_t queue) { cuda::attention_decode(args, queue); });
}

void CudaOps::cross_entropy(const ops::CrossEntropy& args, device::Stream& stream) const {
  run("cross_entropy", stream, [&](cudaStream_t queue) { cuda::cross_entropy(args, queue); });
}

std::size_t CudaOps::cross_entropy_scratch_bytes(const ops::CrossEntropy& /*args*/) const {
  return 0;
}

void CudaOps::cross_entropy_statistics(const ops::CrossEntropyStatistics& args,
                                       device::Stream& stream) const {
  run("cross_entropy_statistics", stream,
      [&](cudaStream_t queue) { cuda::cross_entropy_statistics(args, queue); });
}

void CudaOps::cross_entropy_of_slice(const ops::CrossEntropyOfSlice& args,
                                     device::Stream& stream) const {
  run("cross_entropy_of_slice", stream,
      [&](cudaStream_t queue) { cuda::cross_entropy_of_slice(args, queue); });
}

void CudaOps::adamw_pieces(std::span<const ops::AdamW> pieces, device::Stream& stream) const {
  run("adamw_pieces", stream, [&](cudaStream_t queue) { cuda::adamw_pieces(pieces, queue); });
}

void CudaOps::sum_of_squares_pieces(std::span<const ops::SumOfSquares> pieces,
                                    device::Stream& stream) const {
  run("sum_of_squares_pieces", stream,
      [&](cudaStream_t queue) { cuda::sum_of_squares_pieces(pieces, queue); });
}

std::int64_t CudaOps::num_square_blocks(std::int64_t count) const {
  return cuda::num_square_blocks(count);
}

void CudaOps::accumulate(const ops::Accumulate& args, device::Stream& stream) const {
  run("accumulate", stream, [&](cudaStream_t queue) { cuda::accumulate(args, queue); });
}

void CudaOps::column_sum(const ops::ColumnSum& args, device::Stream& stream) const {
  run("column_sum", stream, [&](cudaStream_t queue) { cuda::column_sum(args, queue); });
}

std::size_t CudaOps::column_sum_scratch_bytes(const ops::ColumnSum& args) const {
  return cuda::column_sum_scratch_bytes(args);
}

void CudaOps::sum_parts(const ops::SumParts& args, device::Stream& stream) const {
  run("sum_parts", stream, [&](cudaStream_t queue) { cuda::sum_parts(args, queue); });
}

void CudaOps::round_to_bfloat16(const ops::RoundToBFloat16& args, device::Stream& stream) const {
  run("round_to_bfloat16", stream,
      [&](cudaStream_t queue) { cuda::round_to_bfloat16(args, queue); });
}

}  // namespace halfpipe::cuda
