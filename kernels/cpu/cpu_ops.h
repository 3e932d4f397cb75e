// SPDX-License-Identifier: Apache-2.0
// The operations of the CPU backend: each virtual forwards to the free function of its name in this
// folder.
#pragma once

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/ops.h"

namespace halfpipe::cpu {

/// `pool` must outlive it. Streams are not read: work runs at once.
class CpuOps final : public ops::Ops {
 public:
  explicit CpuOps(ThreadPool& pool) : pool_(pool) {}

  void embedding_forward(const ops::EmbeddingForward& args, device::Stream& stream) const override;
  void embedding_backward_weight(const ops::EmbeddingBackwardWeight& args,
                                 device::Stream& stream) const override;

  void layer_norm_forward(const ops::LayerNormForward& args, device::Stream& stream) const override;
  void layer_norm_backward_input(const ops::LayerNormBackwardInput& args,
                                 device::Stream& stream) const override;
  void layer_norm_backward_weight(const ops::LayerNormBackwardWeight& args,
                                  device::Stream& stream) const override;
  [[nodiscard]] std::size_t layer_norm_backward_weight_scratch_bytes(
      const ops::LayerNormBackwardWeight& args) const override;

  void matmul(const ops::Matmul& args, device::Stream& stream) const override;
  [[nodiscard]] std::size_t matmul_scratch_bytes(const ops::Matmul& args) const override;

  void gelu_forward(const ops::GeluForward& args, device::Stream& stream) const override;
  void gelu_backward_input(const ops::GeluBackwardInput& args,
                           device::Stream& stream) const override;

  void attention_forward(const ops::AttentionForward& args, device::Stream& stream) const override;
  [[nodiscard]] std::size_t attention_forward_scratch_bytes(const ops::AttentionDims& dims,
                                                            DType dtype) const override;
  void attention_backward_input(const ops::AttentionBackwardInput& args,
                                device::Stream& stream) const override;
  [[nodiscard]] std::size_t attention_backward_scratch_bytes(const ops::AttentionDims& dims,
                                                             DType dtype) const override;
  void attention_decode(const ops::AttentionDecode& args, device::Stream& stream) const override;

  void cross_entropy(const ops::CrossEntropy& args, device::Stream& stream) const override;
  [[nodiscard]] std::size_t cross_entropy_scratch_bytes(
      const ops::CrossEntropy& args) const override;
  void cross_entropy_statistics(const ops::CrossEntropyStatistics& args,
                                device::Stream& stream) const override;
  void cross_entropy_of_slice(const ops::CrossEntropyOfSlice& args,
                              device::Stream& stream) const override;

  void adamw_pieces(std::span<const ops::AdamW> pieces, device::Stream& stream) const override;
  void sum_of_squares_pieces(std::span<const ops::SumOfSquares> pieces,
                             device::Stream& stream) const override;
  [[nodiscard]] std::int64_t num_square_blocks(std::int64_t count) const override;
  void accumulate(const ops::Accumulate& args, device::Stream& stream) const override;
  void column_sum(const ops::ColumnSum& args, device::Stream& stream) const override;
  [[nodiscard]] std::size_t column_sum_scratch_bytes(const ops::ColumnSum& args) const override;
  void sum_parts(const ops::SumParts& args, device::Stream& stream) const override;
  void round_to_bfloat16(const ops::RoundToBFloat16& args, device::Stream& stream) const override;

 private:
  ThreadPool& pool_;
};

}  // namespace halfpipe::cpu
