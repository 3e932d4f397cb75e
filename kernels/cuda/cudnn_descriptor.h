// SPDX-License-Identifier: Apache-2.0
// Owner of a descriptor of cuDNN's graph API: attributes are set, then it is finalised.
#pragma once

#include <cudnn_graph.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cuda/cudnn_library.h"

namespace halfpipe::cuda {

/// How cuDNN calls the type of an attribute's elements.
template <typename T>
constexpr cudnnBackendAttributeType_t cudnn_type_of() = delete;
template <>
constexpr cudnnBackendAttributeType_t cudnn_type_of<std::int64_t>() {
  return CUDNN_TYPE_INT64;
}
template <>
constexpr cudnnBackendAttributeType_t cudnn_type_of<bool>() {
  return CUDNN_TYPE_BOOLEAN;
}
template <>
constexpr cudnnBackendAttributeType_t cudnn_type_of<char>() {
  return CUDNN_TYPE_CHAR;
}
template <>
constexpr cudnnBackendAttributeType_t cudnn_type_of<cudnnHandle_t>() {
  return CUDNN_TYPE_HANDLE;
}
template <>
constexpr cudnnBackendAttributeType_t cudnn_type_of<cudnnDataType_t>() {
  return CUDNN_TYPE_DATA_TYPE;
}
template <>
constexpr cudnnBackendAttributeType_t cudnn_type_of<cudnnPointwiseMode_t>() {
  return CUDNN_TYPE_POINTWISE_MODE;
}
template <>
constexpr cudnnBackendAttributeType_t cudnn_type_of<cudnnReduceTensorOp_t>() {
  return CUDNN_TYPE_REDUCTION_OPERATOR_TYPE;
}
template <>
constexpr cudnnBackendAttributeType_t cudnn_type_of<cudnnBackendHeurMode_t>() {
  return CUDNN_TYPE_HEUR_MODE;
}

/// Calls that fail throw RuntimeFailure with cuDNN's words; a moved-from object owns nothing. The
/// library must outlive it.
class CudnnDescriptor {
 public:
  CudnnDescriptor(const CudnnLibrary& library, cudnnBackendDescriptorType_t type);
  ~CudnnDescriptor() { reset(); }
  CudnnDescriptor(CudnnDescriptor&& other) noexcept
      : library_(other.library_), handle_(std::exchange(other.handle_, nullptr)) {}
  CudnnDescriptor& operator=(CudnnDescriptor&& other) noexcept {
    if (this != &other) {
      reset();
      library_ = other.library_;
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  CudnnDescriptor(const CudnnDescriptor&) = delete;
  CudnnDescriptor& operator=(const CudnnDescriptor&) = delete;

  template <typename T>
  void set(cudnnBackendAttributeName_t name, const T& value) {
    set(name, cudnn_type_of<T>(), 1, &value);
  }
  template <typename T>
  void set_all(cudnnBackendAttributeName_t name, std::span<const T> values) {
    set(name, cudnn_type_of<T>(), std::ssize(values), values.data());
  }
  // cuDNN's handle of a descriptor is a void*, as an address of memory is: these say which it is.
  void set_descriptor(cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
  }
  void set_descriptors(cudnnBackendAttributeName_t name,
                       std::span<const cudnnBackendDescriptor_t> values) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::ssize(values), values.data());
  }
  void set_addresses(cudnnBackendAttributeName_t name, std::span<void* const> values) {
    set(name, CUDNN_TYPE_VOID_PTR, std::ssize(values), values.data());
  }
  void finalize();

  /// After finalize().
  [[nodiscard]] std::int64_t get_number(cudnnBackendAttributeName_t name) const;
  /// Fills descriptors of the attribute's type and returns how many there were, at most as many as
  /// were given.
  [[nodiscard]] std::int64_t get_descriptors(
      cudnnBackendAttributeName_t name, std::span<const cudnnBackendDescriptor_t> filled) const;

  [[nodiscard]] cudnnBackendDescriptor_t get() const noexcept { return handle_; }

 private:
  void set(cudnnBackendAttributeName_t name,
           cudnnBackendAttributeType_t type,
           std::int64_t count,
           const void* values);
  void reset() noexcept;

  const CudnnLibrary* library_;
  cudnnBackendDescriptor_t handle_ = nullptr;
};

}  // namespace halfpipe::cuda
