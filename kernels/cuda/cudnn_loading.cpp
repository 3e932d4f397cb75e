// SPDX-License-Identifier: Apache-2.0
// cuDNN by the dynamic loader: its functions are found by name.
#include <dlfcn.h>

#include <fmt/format.h>

#include "kernels/core/error.h"
#include "kernels/cuda/cudnn_library.h"

namespace halfpipe::cuda {
namespace {

template <typename Function>
void find(Function*& function, void* library, const char* name, const char* file) {
  function = reinterpret_cast<Function*>(::dlsym(library, name));
  if (function == nullptr) throw RuntimeFailure(fmt::format("{} has no {}", file, name));
}

}  // namespace

CudnnLibrary load_cudnn(const char* file) {
  void* const library = ::dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw RuntimeFailure(::dlerror());
  CudnnLibrary found;
  find(found.get_version, library, "cudnnGetVersion", file);
  find(found.get_error_string, library, "cudnnGetErrorString", file);
  find(found.get_last_error_string, library, "cudnnGetLastErrorString", file);
  find(found.create, library, "cudnnCreate", file);
  find(found.destroy, library, "cudnnDestroy", file);
  find(found.set_stream, library, "cudnnSetStream", file);
  find(found.create_descriptor, library, "cudnnBackendCreateDescriptor", file);
  find(found.destroy_descriptor, library, "cudnnBackendDestroyDescriptor", file);
  find(found.set_attribute, library, "cudnnBackendSetAttribute", file);
  find(found.get_attribute, library, "cudnnBackendGetAttribute", file);
  find(found.finalize, library, "cudnnBackendFinalize", file);
  find(found.execute, library, "cudnnBackendExecute", file);
  if (found.get_version() < kOldestCudnn) {
    throw RuntimeFailure(fmt::format("{} is {}; {}.{} or newer is needed", file, found.name(),
                                     kOldestCudnn / 10000, kOldestCudnn / 100 % 100));
  }
  return found;
}

const CudnnLibrary& cudnn_library() {
  static const CudnnLibrary library = load_cudnn("libcudnn.so.9");
  return library;
}

}  // namespace halfpipe::cuda
