// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cudnn_descriptor.h"

#include <algorithm>
#include <cstdio>

namespace halfpipe::cuda {

CudnnDescriptor::CudnnDescriptor(const CudnnLibrary& library, cudnnBackendDescriptorType_t type)
    : library_(&library) {
  library_->check(library_->create_descriptor(type, &handle_), "cudnnBackendCreateDescriptor");
}

void CudnnDescriptor::finalize() {
  library_->check(library_->finalize(handle_), "cudnnBackendFinalize");
}

std::int64_t CudnnDescriptor::get_number(cudnnBackendAttributeName_t name) const {
  std::int64_t value = 0;
  std::int64_t count = 0;
  library_->check(library_->get_attribute(handle_, name, CUDNN_TYPE_INT64, 1, &count, &value),
                  "cudnnBackendGetAttribute");
  return value;
}

std::int64_t CudnnDescriptor::get_descriptors(
    cudnnBackendAttributeName_t name, std::span<const cudnnBackendDescriptor_t> filled) const {
  // cuDNN fills what the handles point to, through an array that it may change.
  std::vector<cudnnBackendDescriptor_t> handles(filled.begin(), filled.end());
  std::int64_t count = 0;
  library_->check(library_->get_attribute(handle_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                          std::ssize(handles), &count, handles.data()),
                  "cudnnBackendGetAttribute");
  return std::min(count, static_cast<std::int64_t>(std::ssize(handles)));
}

void CudnnDescriptor::set(cudnnBackendAttributeName_t name,
                          cudnnBackendAttributeType_t type,
                          std::int64_t count,
                          const void* values) {
  library_->check(library_->set_attribute(handle_, name, type, count, values),
                  "cudnnBackendSetAttribute");
}

void CudnnDescriptor::reset() noexcept {
  if (handle_ == nullptr) return;
  if (library_->destroy_descriptor(handle_) != CUDNN_STATUS_SUCCESS) {
    std::fprintf(stderr, "halfpipe: warning: cudnnBackendDestroyDescriptor failed\n");
  }
  handle_ = nullptr;
}

}  // namespace halfpipe::cuda
