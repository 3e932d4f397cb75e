// SPDX-License-Identifier: Apache-2.0
#include "kernels/modelled/modelled_ops.h"

#include "kernels/modelled/modelled_stream.h"
#include "kernels/ops/op_cost.h"

namespace halfpipe::modelled {
namespace {

template <typename Args>
void take_time(const DeviceModel& device, const Args& args, device::Stream& stream) {
  static_cast<ModelledStream&>(stream).enqueue(device.seconds(ops::cost_of(args)));
}

/// A list is one operation.
template <typename Args>
void take_time_of_pieces(const DeviceModel& device,
                         std::span<const Args> pieces,
                         device::Stream& stream) {
  ops::OpCost cost;
  for (const Args& args : pieces) cost += ops::cost_of(args);
  if (cost.bytes > 0.0) static_cast<ModelledStream&>(stream).enqueue(device.seconds(cost));
}

template <typename Args>
void take_time_of_attention(const DeviceModel& device, const Args& args, device::Stream& stream) {
  static_cast<ModelledStream&>(stream).enqueue(device.seconds_of_attention(ops::cost_of(args)));
}

}  // namespace

void ModelledOps::embedding_forward(const ops::EmbeddingForward& args,
                                    device::Stream& stream) const {
  take_time(device_, args, stream);
}
void ModelledOps::embedding_backward_weight(const ops::EmbeddingBackwardWeight& args,
                                            device::Stream& stream) const {
  take_time(device_, args, stream);
}

void ModelledOps::layer_norm_forward(const ops::LayerNormForward& args,
                                     device::Stream& stream) const {
  take_time(device_, args, stream);
}
void ModelledOps::layer_norm_backward_input(const ops::LayerNormBackwardInput& args,
                                            device::Stream& stream) const {
  take_time(device_, args, stream);
}
void ModelledOps::layer_norm_backward_weight(const ops::LayerNormBackwardWeight& args,
                                             device::Stream& stream) const {
  take_time(device_, args, stream);
}
std::size_t ModelledOps::layer_norm_backward_weight_scratch_bytes(
    const ops::LayerNormBackwardWeight& /*args*/) const {
  return 0;
}

void ModelledOps::matmul(const ops::Matmul& args, device::Stream& stream) const {
  static_cast<ModelledStream&>(stream).enqueue(device_.seconds_of_product(ops::cost_of(args)));
}
std::size_t ModelledOps::matmul_scratch_bytes(const ops::Matmul& /*args*/) const {
  return 0;
}

void ModelledOps::gelu_forward(const ops::GeluForward& args, device::Stream& stream) const {
  take_time(device_, args, stream);
}
void ModelledOps::gelu_backward_input(const ops::GeluBackwardInput& args,
                                      device::Stream& stream) const {
  take_time(device_, args, stream);
}

void ModelledOps::attention_forward(const ops::AttentionForward& args,
                                    device::Stream& stream) const {
  take_time_of_attention(device_, args, stream);
}
std::size_t ModelledOps::attention_forward_scratch_bytes(const ops::AttentionDims& /*dims*/,
                                                         DType /*dtype*/) const {
  return 0;
}
void ModelledOps::attention_backward_input(const ops::AttentionBackwardInput& args,
                                           device::Stream& stream) const {
  take_time_of_attention(device_, args, stream);
}
std::size_t ModelledOps::attention_backward_scratch_bytes(const ops::AttentionDims& /*dims*/,
                                                          DType /*dtype*/) const {
  return 0;
}
void ModelledOps::attention_decode(const ops::AttentionDecode& args, device::Stream& stream) const {
  take_time_of_attention(device_, args, stream);
}

void ModelledOps::cross_entropy(const ops::CrossEntropy& args, device::Stream& stream) const {
  take_time(device_, args, stream);
}
std::size_t ModelledOps::cross_entropy_scratch_bytes(const ops::CrossEntropy& /*args*/) const {
  return 0;
}
void ModelledOps::cross_entropy_statistics(const ops::CrossEntropyStatistics& args,
                                           device::Stream& stream) const {
  take_time(device_, args, stream);
}
void ModelledOps::cross_entropy_of_slice(const ops::CrossEntropyOfSlice& args,
                                         device::Stream& stream) const {
  take_time(device_, args, stream);
}

void ModelledOps::adamw_pieces(std::span<const ops::AdamW> pieces, device::Stream& stream) const {
  take_time_of_pieces(device_, pieces, stream);
}
void ModelledOps::sum_of_squares_pieces(std::span<const ops::SumOfSquares> pieces,
                                        device::Stream& stream) const {
  take_time_of_pieces(device_, pieces, stream);
}
std::int64_t ModelledOps::num_square_blocks(std::int64_t /*count*/) const {
  return 0;
}
void ModelledOps::accumulate(const ops::Accumulate& args, device::Stream& stream) const {
  take_time(device_, args, stream);
}
void ModelledOps::column_sum(const ops::ColumnSum& args, device::Stream& stream) const {
  take_time(device_, args, stream);
}
std::size_t ModelledOps::column_sum_scratch_bytes(const ops::ColumnSum& /*args*/) const {
  return 0;
}
void ModelledOps::sum_parts(const ops::SumParts& args, device::Stream& stream) const {
  take_time(device_, args, stream);
}

void ModelledOps::round_to_bfloat16(const ops::RoundToBFloat16& args,
                                    device::Stream& stream) const {
  take_time(device_, args, stream);
}

}  // namespace halfpipe::modelled
