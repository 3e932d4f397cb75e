// SPDX-License-Identifier: Apache-2.0
// cuDNN as this process finds it when it runs: only its headers are there when Halfpipe is built.
#pragma once

#include <cudnn_graph.h>

#include <cstddef>
#include <string>

namespace halfpipe::cuda {

/// The functions of cuDNN that Halfpipe calls.
struct CudnnLibrary {
  decltype(&::cudnnGetVersion) get_version = nullptr;
  decltype(&::cudnnGetErrorString) get_error_string = nullptr;
  decltype(&::cudnnGetLastErrorString) get_last_error_string = nullptr;
  decltype(&::cudnnCreate) create = nullptr;
  decltype(&::cudnnDestroy) destroy = nullptr;
  decltype(&::cudnnSetStream) set_stream = nullptr;
  decltype(&::cudnnBackendCreateDescriptor) create_descriptor = nullptr;
  decltype(&::cudnnBackendDestroyDescriptor) destroy_descriptor = nullptr;
  decltype(&::cudnnBackendSetAttribute) set_attribute = nullptr;
  decltype(&::cudnnBackendGetAttribute) get_attribute = nullptr;
  decltype(&::cudnnBackendFinalize) finalize = nullptr;
  decltype(&::cudnnBackendExecute) execute = nullptr;

  /// "cuDNN 9.19.0"
  [[nodiscard]] std::string name() const;
  /// What cuDNN says of its last failure on this thread, once; empty when there was none since.
  [[nodiscard]] std::string last_words() const;
  /// Throws RuntimeFailure "<what>: <cuDNN's words>".
  void check(cudnnStatus_t status, const char* what) const;
};

/// The version whose plans were looked at. Some older ones need a detour for sequences that are no
/// multiple of 128 positions, says NVIDIA's frontend.
inline constexpr std::size_t kOldestCudnn = 91900;

/// Loads a library and keeps it for good. Throws RuntimeFailure when it is not there or too old.
[[nodiscard]] CudnnLibrary load_cudnn(const char* file);

/// libcudnn.so.9, where the loader finds it, loaded at the first call. Throws as load_cudnn.
[[nodiscard]] const CudnnLibrary& cudnn_library();

}  // namespace halfpipe::cuda
