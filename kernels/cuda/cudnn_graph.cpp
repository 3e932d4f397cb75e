// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cudnn_graph.h"

namespace halfpipe::cuda {
namespace {

constexpr std::int64_t kAlignment = 16;  // bytes

CudnnShape packed(const CudnnShape& shape) {
  CudnnShape strides{};
  std::int64_t stride = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

}  // namespace

CudnnTensor CudnnGraph::in_memory(std::int64_t id,
                                  cudnnDataType_t type,
                                  const CudnnShape& shape,
                                  const CudnnShape& strides) {
  CudnnDescriptor tensor = start_tensor(type, shape, strides, id);
  tensor.finalize();
  return {keep(std::move(tensor)), shape};
}

CudnnTensor CudnnGraph::between(cudnnDataType_t type, const CudnnShape& shape) {
  return between(type, shape, packed(shape));
}

CudnnTensor CudnnGraph::between(cudnnDataType_t type,
                                const CudnnShape& shape,
                                const CudnnShape& strides) {
  CudnnDescriptor tensor = start_tensor(type, shape, strides, next_id_++);
  tensor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
  tensor.finalize();
  return {keep(std::move(tensor)), shape};
}

CudnnTensor CudnnGraph::constant(float value) {
  constexpr CudnnShape kScalar{1, 1, 1, 1};
  constants_.emplace_back(next_id_, value);
  CudnnDescriptor tensor = start_tensor(CUDNN_DATA_FLOAT, kScalar, kScalar, next_id_++);
  tensor.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, true);
  tensor.finalize();
  return {keep(std::move(tensor)), kScalar};
}

CudnnTensor CudnnGraph::matmul(CudnnTensor product, CudnnTensor a, CudnnTensor b) {
  CudnnDescriptor arithmetic(*library_, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  arithmetic.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
  arithmetic.finalize();
  CudnnDescriptor operation(*library_, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a.descriptor);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b.descriptor);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_MATMUL_CDESC, product.descriptor);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_MATMUL_DESC, keep(std::move(arithmetic)));
  add(std::move(operation));
  return product;
}

CudnnTensor CudnnGraph::pointwise(cudnnPointwiseMode_t mode, CudnnTensor result, CudnnTensor x) {
  add(start_pointwise(pointwise_mode(mode, CUDNN_DATA_FLOAT), result, x));
  return result;
}

CudnnTensor CudnnGraph::pointwise(cudnnPointwiseMode_t mode,
                                  CudnnTensor result,
                                  CudnnTensor x,
                                  CudnnTensor b) {
  CudnnDescriptor operation = start_pointwise(pointwise_mode(mode, CUDNN_DATA_FLOAT), result, x);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b.descriptor);
  add(std::move(operation));
  return result;
}

CudnnTensor CudnnGraph::compare(cudnnPointwiseMode_t mode,
                                CudnnTensor result,
                                CudnnTensor x,
                                CudnnTensor b) {
  CudnnDescriptor operation = start_pointwise(pointwise_mode(mode, CUDNN_DATA_BOOLEAN), result, x);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b.descriptor);
  add(std::move(operation));
  return result;
}

CudnnTensor CudnnGraph::index(CudnnTensor result, CudnnTensor like, std::int64_t axis) {
  CudnnDescriptor mode(*library_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  mode.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_GEN_INDEX);
  mode.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  mode.set(CUDNN_ATTR_POINTWISE_AXIS, axis);
  mode.finalize();
  add(start_pointwise(std::move(mode), result, like));
  return result;
}

CudnnTensor CudnnGraph::select(CudnnTensor result,
                               CudnnTensor condition,
                               CudnnTensor x,
                               CudnnTensor b) {
  CudnnDescriptor operation =
      start_pointwise(pointwise_mode(CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT), result, x);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b.descriptor);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, condition.descriptor);
  add(std::move(operation));
  return result;
}

CudnnTensor CudnnGraph::reduce(cudnnReduceTensorOp_t op, CudnnTensor result, CudnnTensor x) {
  CudnnDescriptor reduction(*library_, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  reduction.set(CUDNN_ATTR_REDUCTION_OPERATOR, op);
  reduction.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  reduction.finalize();
  CudnnDescriptor operation(*library_, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x.descriptor);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, result.descriptor);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_REDUCTION_DESC, keep(std::move(reduction)));
  add(std::move(operation));
  return result;
}

CudnnTensor CudnnGraph::transpose(CudnnTensor result, CudnnTensor x) {
  CudnnDescriptor operation(*library_, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x.descriptor);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, result.descriptor);
  add(std::move(operation));
  return result;
}

std::vector<cudnnBackendDescriptor_t> CudnnGraph::operations() const {
  std::vector<cudnnBackendDescriptor_t> handles;
  for (const CudnnDescriptor& operation : operations_) handles.push_back(operation.get());
  return handles;
}

CudnnDescriptor CudnnGraph::start_tensor(cudnnDataType_t type,
                                         const CudnnShape& shape,
                                         const CudnnShape& strides,
                                         std::int64_t id) const {
  CudnnDescriptor tensor(*library_, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  tensor.set_all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, shape);
  tensor.set_all<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES, strides);
  tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment);
  return tensor;
}

cudnnBackendDescriptor_t CudnnGraph::keep(CudnnDescriptor descriptor) {
  return kept_.emplace_back(std::move(descriptor)).get();
}

CudnnDescriptor CudnnGraph::pointwise_mode(cudnnPointwiseMode_t mode,
                                           cudnnDataType_t arithmetic) const {
  CudnnDescriptor descriptor(*library_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  descriptor.set(CUDNN_ATTR_POINTWISE_MODE, mode);
  descriptor.set(CUDNN_ATTR_POINTWISE_MATH_PREC, arithmetic);
  descriptor.finalize();
  return descriptor;
}

CudnnDescriptor CudnnGraph::start_pointwise(CudnnDescriptor mode,
                                            CudnnTensor result,
                                            CudnnTensor x) {
  CudnnDescriptor operation(*library_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, keep(std::move(mode)));
  operation.set_descriptor(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x.descriptor);
  operation.set_descriptor(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, result.descriptor);
  return operation;
}

void CudnnGraph::add(CudnnDescriptor operation) {
  operation.finalize();
  operations_.push_back(std::move(operation));
}

}  // namespace halfpipe::cuda
