// SPDX-License-Identifier: Apache-2.0
// Forwards every operation to the function of its name.
#include "kernels/cpu/cpu_ops.h"

#include "kernels/cpu/activation.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/cross_entropy.h"
#include "kernels/cpu/embedding.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/norm.h"
#include "kernels/cpu/optimizer.h"
#include "kernels/cpu/reduction.h"

namespace halfpipe::cpu {

void CpuOps::embedding_forward(const ops::EmbeddingForward& args,
                               device::Stream& /*stream*/) const {
  cpu::embedding_forward(args, pool_);
}

void CpuOps::embedding_backward_weight(const ops::EmbeddingBackwardWeight& args,
                                       device::Stream& /*stream*/) const {
  cpu::embedding_backward_weight(args, pool_);
}

void CpuOps::layer_norm_forward(const ops::LayerNormForward& args,
                                device::Stream& /*stream*/) const {
  cpu::layer_norm_forward(args, pool_);
}

void CpuOps::layer_norm_backward_input(const ops::LayerNormBackwardInput& args,
                                       device::Stream& /*stream*/) const {
  cpu::layer_norm_backward_input(args, pool_);
}

void CpuOps::layer_norm_backward_weight(const ops::LayerNormBackwardWeight& args,
                                        device::Stream& /*stream*/) const {
  cpu::layer_norm_backward_weight(args, pool_);
}
std::size_t CpuOps::layer_norm_backward_weight_scratch_bytes(
    const ops::LayerNormBackwardWeight& /*args*/) const {
  return 0;
}

void CpuOps::matmul(const ops::Matmul& args, device::Stream& /*stream*/) const {
  cpu::matmul(args, pool_);
}

std::size_t CpuOps::matmul_scratch_bytes(const ops::Matmul& args) const {
  return cpu::matmul_scratch_bytes(args, pool_);
}

void CpuOps::gelu_forward(const ops::GeluForward& args, device::Stream& /*stream*/) const {
  cpu::gelu_forward(args, pool_);
}

void CpuOps::gelu_backward_input(const ops::GeluBackwardInput& args,
                                 device::Stream& /*stream*/) const {
  cpu::gelu_backward_input(args, pool_);
}

void CpuOps::attention_forward(const ops::AttentionForward& args,
                               device::Stream& /*stream*/) const {
  cpu::attention_forward(args, pool_);
}

std::size_t CpuOps::attention_forward_scratch_bytes(const ops::AttentionDims& dims,
                                                    DType dtype) const {
  return cpu::attention_forward_scratch_bytes(dims, dtype, pool_);
}

void CpuOps::attention_backward_input(const ops::AttentionBackwardInput& args,
                                      device::Stream& /*stream*/) const {
  cpu::attention_backward_input(args, pool_);
}

std::size_t CpuOps::attention_backward_scratch_bytes(const ops::AttentionDims& dims,
                                                     DType dtype) const {
  return cpu::attention_backward_scratch_bytes(dims, dtype, pool_);
}

void CpuOps::attention_decode(const ops::AttentionDecode& args, device::Stream& /*stream*/) const {
  cpu::attention_decode(args, pool_);
}

void CpuOps::cross_entropy(const ops::CrossEntropy& args, device::Stream& /*stream*/) const {
  cpu::cross_entropy(args, pool_);
}

std::size_t CpuOps::cross_entropy_scratch_bytes(const ops::CrossEntropy& args) const {
  return cpu::cross_entropy_scratch_bytes(args, pool_);
}

void CpuOps::cross_entropy_statistics(const ops::CrossEntropyStatistics& args,
                                      device::Stream& /*stream*/) const {
  cpu::cross_entropy_statistics(args, pool_);
}

void CpuOps::cross_entropy_of_slice(const ops::CrossEntropyOfSlice& args,
                                    device::Stream& /*stream*/) const {
  cpu::cross_entropy_of_slice(args, pool_);
}

void CpuOps::adamw_pieces(std::span<const ops::AdamW> pieces, device::Stream& /*stream*/) const {
  cpu::adamw_pieces(pieces, pool_);
}

void CpuOps::sum_of_squares_pieces(std::span<const ops::SumOfSquares> pieces,
                                   device::Stream& /*stream*/) const {
  cpu::sum_of_squares_pieces(pieces, pool_);
}

std::int64_t CpuOps::num_square_blocks(std::int64_t count) const {
  return cpu::num_square_blocks(count);
}

void CpuOps::accumulate(const ops::Accumulate& args, device::Stream& /*stream*/) const {
  cpu::accumulate(args, pool_);
}

void CpuOps::column_sum(const ops::ColumnSum& args, device::Stream& /*stream*/) const {
  cpu::column_sum(args, pool_);
}
std::size_t CpuOps::column_sum_scratch_bytes(const ops::ColumnSum& /*args*/) const {
  return 0;
}

void CpuOps::sum_parts(const ops::SumParts& args, device::Stream& /*stream*/) const {
  cpu::sum_parts(args, pool_);
}

void CpuOps::round_to_bfloat16(const ops::RoundToBFloat16& args, device::Stream& /*stream*/) const {
  cpu::round_to_bfloat16(args, pool_);
}

}  // namespace halfpipe::cpu
