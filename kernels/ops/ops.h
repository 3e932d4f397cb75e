// SPDX-License-Identifier: Apache-2.0
// Every operation of a backend: one virtual per fused op, which takes a list where a step has many
// small arrays to work on. The dtype of an operation is float32 or
// bfloat16, that of the activations and weights that it touches; statistics, losses and gradients
// of parameters are float32 always, and so is what happens between reading and writing. Work is
// ordered by the stream given; the host is not blocked, and every result has the same bits on every
// run and for any number of threads. Scratch comes from the caller; only oneDNN, on the CPU, takes
// and returns packing buffers of its own (kernels/cpu/matmul_library.h).
#pragma once

#include <cstddef>
#include <span>

#include "kernels/device/stream.h"
#include "kernels/ops/activation.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/cross_entropy.h"
#include "kernels/ops/embedding.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/norm.h"
#include "kernels/ops/optimizer.h"
#include "kernels/ops/reduction.h"

namespace halfpipe::ops {

class Ops {
 public:
  virtual ~Ops() = default;

  virtual void embedding_forward(const EmbeddingForward& args, device::Stream& stream) const = 0;
  virtual void embedding_backward_weight(const EmbeddingBackwardWeight& args,
                                         device::Stream& stream) const = 0;

  virtual void layer_norm_forward(const LayerNormForward& args, device::Stream& stream) const = 0;
  virtual void layer_norm_backward_input(const LayerNormBackwardInput& args,
                                         device::Stream& stream) const = 0;
  virtual void layer_norm_backward_weight(const LayerNormBackwardWeight& args,
                                          device::Stream& stream) const = 0;
  /// Reads dims and dtype of args alone, as does column_sum_scratch_bytes.
  [[nodiscard]] virtual std::size_t layer_norm_backward_weight_scratch_bytes(
      const LayerNormBackwardWeight& args) const = 0;

  virtual void matmul(const Matmul& args, device::Stream& stream) const = 0;
  /// Pointers in args are not read, only which of them are null, the dims and the flags.
  [[nodiscard]] virtual std::size_t matmul_scratch_bytes(const Matmul& args) const = 0;

  virtual void gelu_forward(const GeluForward& args, device::Stream& stream) const = 0;
  virtual void gelu_backward_input(const GeluBackwardInput& args, device::Stream& stream) const = 0;

  virtual void attention_forward(const AttentionForward& args, device::Stream& stream) const = 0;
  [[nodiscard]] virtual std::size_t attention_forward_scratch_bytes(const AttentionDims& dims,
                                                                    DType dtype) const = 0;
  virtual void attention_backward_input(const AttentionBackwardInput& args,
                                        device::Stream& stream) const = 0;
  [[nodiscard]] virtual std::size_t attention_backward_scratch_bytes(const AttentionDims& dims,
                                                                     DType dtype) const = 0;
  virtual void attention_decode(const AttentionDecode& args, device::Stream& stream) const = 0;

  virtual void cross_entropy(const CrossEntropy& args, device::Stream& stream) const = 0;
  /// Reads V and dtype of args alone.
  [[nodiscard]] virtual std::size_t cross_entropy_scratch_bytes(const CrossEntropy& args) const = 0;
  virtual void cross_entropy_statistics(const CrossEntropyStatistics& args,
                                        device::Stream& stream) const = 0;
  virtual void cross_entropy_of_slice(const CrossEntropyOfSlice& args,
                                      device::Stream& stream) const = 0;

  /// Each piece has the bits that it has by itself. None may touch what another one writes: a GPU
  /// works on all of them at once. `pieces` may change as soon as the call returns.
  virtual void adamw_pieces(std::span<const AdamW> pieces, device::Stream& stream) const = 0;
  virtual void sum_of_squares_pieces(std::span<const SumOfSquares> pieces,
                                     device::Stream& stream) const = 0;
  /// A list of one.
  void adamw(const AdamW& args, device::Stream& stream) const { adamw_pieces({&args, 1}, stream); }
  void sum_of_squares(const SumOfSquares& args, device::Stream& stream) const {
    sum_of_squares_pieces({&args, 1}, stream);
  }
  [[nodiscard]] virtual std::int64_t num_square_blocks(std::int64_t count) const = 0;
  virtual void accumulate(const Accumulate& args, device::Stream& stream) const = 0;
  virtual void column_sum(const ColumnSum& args, device::Stream& stream) const = 0;
  [[nodiscard]] virtual std::size_t column_sum_scratch_bytes(const ColumnSum& args) const = 0;
  virtual void sum_parts(const SumParts& args, device::Stream& stream) const = 0;
  virtual void round_to_bfloat16(const RoundToBFloat16& args, device::Stream& stream) const = 0;
};

}  // namespace halfpipe::ops
