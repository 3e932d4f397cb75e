// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <set>

#include "kernels/core/align.h"
#include "tests/cuda_emulation/cudnn_descriptor.h"

namespace halfpipe::cuda_emulation {
namespace {

const GraphTensor& tensor(const Descriptor& of, cudnnBackendAttributeName_t name) {
  return other(of, name, CUDNN_BACKEND_TENSOR_DESCRIPTOR).tensor;
}

GraphTensor::Element element_of(cudnnDataType_t type) {
  switch (type) {
    case CUDNN_DATA_FLOAT:
      return GraphTensor::Element::kFloat32;
    case CUDNN_DATA_INT32:
      return GraphTensor::Element::kInt32;
    case CUDNN_DATA_BFLOAT16:
      return GraphTensor::Element::kBFloat16;
    case CUDNN_DATA_BOOLEAN:
      return GraphTensor::Element::kBoolean;
  }
  refuse("a type of elements");
}

void finalize_tensor(Descriptor& d) {
  const auto shape = all<std::int64_t>(d, CUDNN_ATTR_TENSOR_DIMENSIONS);
  const auto strides = all<std::int64_t>(d, CUDNN_ATTR_TENSOR_STRIDES);
  if (shape.size() != 4 || strides.size() != 4) refuse("a tensor has four dimensions");
  const bool between = maybe<bool>(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL).value_or(false);
  const bool by_value = maybe<bool>(d, CUDNN_ATTR_TENSOR_IS_BY_VALUE).value_or(false);
  d.tensor.id = one<std::int64_t>(d, CUDNN_ATTR_TENSOR_UNIQUE_ID);
  d.tensor.place = between    ? GraphTensor::Place::kBetween
                   : by_value ? GraphTensor::Place::kHostValue
                              : GraphTensor::Place::kMemory;
  d.tensor.element = element_of(one<cudnnDataType_t>(d, CUDNN_ATTR_TENSOR_DATA_TYPE));
  std::ranges::copy(shape, d.tensor.shape.begin());
  std::ranges::copy(strides, d.tensor.strides.begin());
  d.tensor.alignment = one<std::int64_t>(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
}

GraphOperation::Kind kind_of(cudnnPointwiseMode_t mode) {
  switch (mode) {
    case CUDNN_POINTWISE_ADD:
      return GraphOperation::Kind::kAdd;
    case CUDNN_POINTWISE_MUL:
      return GraphOperation::Kind::kMultiply;
    case CUDNN_POINTWISE_DIV:
      return GraphOperation::Kind::kDivide;
    case CUDNN_POINTWISE_SUB:
      return GraphOperation::Kind::kSubtract;
    case CUDNN_POINTWISE_EXP:
      return GraphOperation::Kind::kExp;
    case CUDNN_POINTWISE_LOG:
      return GraphOperation::Kind::kLog;
    case CUDNN_POINTWISE_CMP_GE:
      return GraphOperation::Kind::kAtLeast;
    case CUDNN_POINTWISE_GEN_INDEX:
      return GraphOperation::Kind::kIndex;
    case CUDNN_POINTWISE_BINARY_SELECT:
      return GraphOperation::Kind::kSelect;
  }
  refuse("a mode of pointwise operations");
}

void finalize_pointwise(Descriptor& d) {
  const Descriptor& mode =
      other(d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  static_cast<void>(one<cudnnDataType_t>(mode, CUDNN_ATTR_POINTWISE_MATH_PREC));
  GraphOperation& operation = d.operation;
  operation.kind = kind_of(one<cudnnPointwiseMode_t>(mode, CUDNN_ATTR_POINTWISE_MODE));
  if (operation.kind == GraphOperation::Kind::kIndex) {
    operation.axis = one<std::int64_t>(mode, CUDNN_ATTR_POINTWISE_AXIS);
  }
  operation.result = tensor(d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
  operation.inputs = {tensor(d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC)};
  using Kind = GraphOperation::Kind;
  const bool unary = operation.kind == Kind::kExp || operation.kind == Kind::kLog ||
                     operation.kind == Kind::kIndex;
  if (!unary) operation.inputs.push_back(tensor(d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
  if (operation.kind == Kind::kSelect) {
    operation.inputs.push_back(tensor(d, CUDNN_ATTR_OPERATION_POINTWISE_TDESC));
  }
  for (const GraphTensor& input : operation.inputs) {
    for (std::size_t axis = 0; axis < input.shape.size(); ++axis) {
      if (input.shape[axis] != 1 && input.shape[axis] != operation.result.shape[axis]) {
        refuse("shapes of a pointwise operation");
      }
    }
  }
}

void finalize_matmul(Descriptor& d) {
  const Descriptor& arithmetic =
      other(d, CUDNN_ATTR_OPERATION_MATMUL_DESC, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  static_cast<void>(one<cudnnDataType_t>(arithmetic, CUDNN_ATTR_MATMUL_COMP_TYPE));
  GraphOperation& operation = d.operation;
  operation.kind = GraphOperation::Kind::kMatmul;
  operation.result = tensor(d, CUDNN_ATTR_OPERATION_MATMUL_CDESC);
  operation.inputs = {tensor(d, CUDNN_ATTR_OPERATION_MATMUL_ADESC),
                      tensor(d, CUDNN_ATTR_OPERATION_MATMUL_BDESC)};
  const auto& a = operation.inputs[0].shape;
  const auto& b = operation.inputs[1].shape;
  const std::array<std::int64_t, 4> expected{a[0], a[1], a[2], b[3]};
  if (a[3] != b[2] || a[0] != b[0] || a[1] != b[1] || operation.result.shape != expected) {
    refuse("shapes of a matrix product");
  }
}

void finalize_reduction(Descriptor& d) {
  const Descriptor& reduction =
      other(d, CUDNN_ATTR_OPERATION_REDUCTION_DESC, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  static_cast<void>(one<cudnnDataType_t>(reduction, CUDNN_ATTR_REDUCTION_COMP_TYPE));
  const bool is_sum = one<cudnnReduceTensorOp_t>(reduction, CUDNN_ATTR_REDUCTION_OPERATOR) ==
                      CUDNN_REDUCE_TENSOR_ADD;
  GraphOperation& operation = d.operation;
  operation.kind = is_sum ? GraphOperation::Kind::kSum : GraphOperation::Kind::kMaximum;
  operation.result = tensor(d, CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
  operation.inputs = {tensor(d, CUDNN_ATTR_OPERATION_REDUCTION_XDESC)};
}

void finalize_reshape(Descriptor& d) {
  d.operation.kind = GraphOperation::Kind::kReinterpret;
  d.operation.result = tensor(d, CUDNN_ATTR_OPERATION_RESHAPE_YDESC);
  d.operation.inputs = {tensor(d, CUDNN_ATTR_OPERATION_RESHAPE_XDESC)};
  if (extent_of(d.operation.result) != extent_of(d.operation.inputs[0])) {
    refuse("a tensor of another extent");
  }
}

void collect(const GraphTensor& tensor, std::set<std::int64_t>& ids) {
  if (tensor.place == GraphTensor::Place::kMemory) ids.insert(tensor.id);
}

/// What has not been written is not read, and memory is read or written.
void check_order(const GraphProgram& program) {
  std::set<std::int64_t> written;
  std::set<std::int64_t> read;
  for (const GraphOperation& operation : program) {
    for (const GraphTensor& input : operation.inputs) {
      const bool between = input.place == GraphTensor::Place::kBetween;
      if (between && !written.contains(input.id)) refuse("a tensor is read before it is written");
      if (!written.contains(input.id)) collect(input, read);
    }
    if (!written.insert(operation.result.id).second) refuse("a tensor is written twice");
    if (read.contains(operation.result.id)) refuse("a tensor is written after it was read");
  }
}

/// As cuDNN's for attention: backward keeps a number per score, of sequences in steps of 128.
std::size_t workspace_of(const GraphProgram& program) {
  constexpr std::size_t kSmall = 256;
  std::size_t num_products = 0;
  std::size_t bytes = 0;
  for (const GraphOperation& operation : program) {
    if (operation.kind != GraphOperation::Kind::kMatmul) continue;
    ++num_products;
    const auto& shape = operation.result.shape;
    const std::int64_t T = round_up(shape[2], std::int64_t{128});
    bytes = static_cast<std::size_t>(shape[0] * shape[1] * T * T) * 2;
  }
  return kSmall + (num_products > 2 ? bytes : 0);
}

void finalize_graph(Descriptor& d) {
  auto plan = std::make_shared<Plan>();
  for (auto* const handle : all<cudnnBackendDescriptor_t>(d, CUDNN_ATTR_OPERATIONGRAPH_OPS)) {
    const auto* const operation = static_cast<const Descriptor*>(handle);
    if (operation == nullptr || !operation->finalized) refuse("an operation is not finalised");
    plan->program.push_back(operation->operation);
  }
  static_cast<void>(one<cudnnHandle_t>(d, CUDNN_ATTR_OPERATIONGRAPH_HANDLE));
  check_order(plan->program);
  plan->workspace_bytes = workspace_of(plan->program);
  d.plan = std::move(plan);
}

}  // namespace

const Descriptor& other(const Descriptor& of,
                        cudnnBackendAttributeName_t name,
                        cudnnBackendDescriptorType_t type) {
  const auto* const found = static_cast<const Descriptor*>(one<cudnnBackendDescriptor_t>(of, name));
  if (found == nullptr || found->type != type || !found->finalized) {
    refuse("attribute " + std::to_string(name) + " is of another type or not finalised");
  }
  return *found;
}

void finalize(Descriptor& d) {
  if (d.finalized) refuse("a descriptor is finalised twice");
  switch (d.type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
      finalize_tensor(d);
      break;
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
      finalize_pointwise(d);
      break;
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
      finalize_matmul(d);
      break;
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
      finalize_reduction(d);
      break;
    case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR:
      finalize_reshape(d);
      break;
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
      finalize_graph(d);
      break;
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
      static_cast<void>(one<cudnnBackendHeurMode_t>(d, CUDNN_ATTR_ENGINEHEUR_MODE));
      d.plan =
          other(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)
              .plan;
      break;
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
      static_cast<void>(one<cudnnHandle_t>(d, CUDNN_ATTR_EXECUTION_PLAN_HANDLE));
      d.plan = other(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
                   .plan;
      break;
    case CUDNN_BACKEND_POINTWISE_DESCRIPTOR:
    case CUDNN_BACKEND_MATMUL_DESCRIPTOR:
    case CUDNN_BACKEND_REDUCTION_DESCRIPTOR:
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
      break;  // those who use them read them
    case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
      refuse("an engine that nothing proposed");
  }
  d.finalized = true;
}

}  // namespace halfpipe::cuda_emulation
