// SPDX-License-Identifier: Apache-2.0
// What a layer's passes run with, and the linear map that layers share.
//
// A layer has three passes for each micro-batch:
//   forward           reads its input, writes its output, saves what the backward passes need
//   backward_input    reads the gradient of its output, writes that of its input, releases what
//   only it needed backward_weight   accumulates the gradients of its matrices and their biases,
//   releases the rest
// Any number of other passes may run between the three. Gradients that cost next to nothing and
// would have to be kept alive for it (norms, embeddings) are accumulated by backward_input already,
// and so is, where asked for, that of the bias before GELU; a plan runs both passes of a stage in
// micro-batch order, so their sums have one order on every schedule.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/parameter.h"
#include "engine/model/tensor_group.h"
#include "engine/model/tensor_shard.h"
#include "kernels/core/error.h"
#include "kernels/device/arena.h"
#include "kernels/device/stream.h"
#include "kernels/ops/ops.h"

namespace halfpipe::model {

/// Layers know nothing of ranks, stages or micro-batch numbers: this is all they are given.
struct PassContext {
  const ops::Ops& ops;
  device::Stream& stream;
  device::Arena& workspace;               // scratch, free again when the pass ends
  std::int64_t B;                         // sequences in the micro-batch
  std::int64_t T;                         // tokens in each, at most the model's seq_len
  DType dtype;                            // of activations and of the weights that passes read
  TensorShard shard = {};                 // of the parameters
  TensorGroup* tensor_or_null = nullptr;  // of the ranks that share them; null while counting

  [[nodiscard]] std::int64_t N() const { return B * T; }
  /// Tokens whose activations between layers this rank has: all, or a tensor rank's share.
  [[nodiscard]] std::int64_t rows() const { return N() / shard.ranks; }
  [[nodiscard]] TensorGroup& tensor() const {
    HALFPIPE_CHECK(tensor_or_null != nullptr, "a shared layer without the ranks that share it");
    return *tensor_or_null;
  }
  /// A counting workspace means that only sizes are wanted: no kernel runs.
  [[nodiscard]] bool counting() const { return workspace.is_counting(); }
  /// Scratch for `count` elements of dtype.
  [[nodiscard]] std::byte* take(std::int64_t count) const {
    return workspace.take_bytes(static_cast<std::size_t>(count) * size_of(dtype));
  }
};

/// A weight matrix [in, out] and its optional bias, by index into the rank's parameters: of a
/// shared one the part that the rank has.
struct Linear {
  int weight = -1;
  int bias_or_none = -1;
  std::int64_t in = 0;
  std::int64_t out = 0;
};

/// Adds `name`.weight and, when the model has biases, `name`.bias to the rank's parameters. `in`
/// and `out` are those of the whole. Of a matrix shared by rows every rank holds the whole bias.
[[nodiscard]] Linear make_linear(const TransformerConfig& config,
                                 const std::vector<ParameterSpec>& model,
                                 const std::string& name,
                                 std::int64_t in,
                                 std::int64_t out,
                                 ParameterSet& parameters,
                                 Sharing sharing = Sharing::kWhole);

/// y = x W + b + residual;  y [N, out], x [N, in].
void linear_forward(PassContext& ctx,
                    const ParameterSet& parameters,
                    const Linear& linear,
                    void* y,
                    const void* x,
                    const void* residual_or_null);
/// y = gelu(x W + b), pre_activation = x W + b, in one operation; y and pre_activation [N, out].
void linear_gelu_forward(PassContext& ctx,
                         const ParameterSet& parameters,
                         const Linear& linear,
                         void* y,
                         void* pre_activation,
                         const void* x);
/// dx = dy W^T. Overwrites dx.
void linear_backward_input(PassContext& ctx,
                           const ParameterSet& parameters,
                           const Linear& linear,
                           void* dx,
                           const void* dy);
/// dW += x^T dy;  db += column sums of dy.
void linear_backward_weight(PassContext& ctx,
                            const ParameterSet& parameters,
                            const Linear& linear,
                            const void* x,
                            const void* dy);
/// dpre = dout times the slope of GELU at pre_activation, which dpre may be; both [N, out], the
/// output of `linear`. With `bias`, db += column sums of dpre: linear_backward_weight is then to do
/// without.
void gelu_backward(PassContext& ctx,
                   const ParameterSet& parameters,
                   const Linear& linear,
                   void* dpre,
                   const void* dout,
                   const void* pre_activation,
                   bool bias);

/// Scratch of an operation from the workspace, which the caller's scope frees.
[[nodiscard]] void* scratch_or_null(PassContext& ctx, std::size_t bytes);

/// Runs a matrix product with scratch from the workspace.
void run_matmul(PassContext& ctx, ops::Matmul args);

/// Scale and shift of a norm, by index into the rank's parameters.
struct Norm {
  int weight = -1;
  int bias_or_none = -1;
  std::int64_t C = 0;
};

[[nodiscard]] Norm make_norm(const TransformerConfig& config,
                             const std::vector<ParameterSpec>& model,
                             const std::string& name,
                             ParameterSet& parameters);

/// out, mean, rstd of LayerNormForward, of the rank's rows.
void norm_forward(PassContext& ctx,
                  const ParameterSet& parameters,
                  const Norm& norm,
                  void* out,
                  float* mean,
                  float* rstd,
                  const void* x);
/// What both gradients of a norm read.
struct NormGradientInputs {
  const void* dout;
  const void* x;
  const float* mean;
  const float* rstd;
};
/// Accumulates the gradients of scale and shift, then overwrites dx (which may be x) with the
/// gradient of the input plus residual.
void norm_backward(PassContext& ctx,
                   const ParameterSet& parameters,
                   const Norm& norm,
                   void* dx,
                   const NormGradientInputs& inputs,
                   const void* residual_or_null);

}  // namespace halfpipe::model
