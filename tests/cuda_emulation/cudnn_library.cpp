// SPDX-License-Identifier: Apache-2.0
// In place of kernels/cuda/cudnn_loading.cpp: the emulated cuDNN is there without loading, unless
// HALFPIPE_EMULATION_NO_CUDNN is in the environment.
#include "kernels/cuda/cudnn_library.h"

#include <cstdlib>

#include "kernels/core/error.h"

namespace halfpipe::cuda {

const CudnnLibrary& cudnn_library() {
  if (std::getenv("HALFPIPE_EMULATION_NO_CUDNN") != nullptr) {
    throw RuntimeFailure("libcudnn.so.9: absent from the emulation");
  }
  static const CudnnLibrary library{.get_version = &::cudnnGetVersion,
                                    .get_error_string = &::cudnnGetErrorString,
                                    .get_last_error_string = &::cudnnGetLastErrorString,
                                    .create = &::cudnnCreate,
                                    .destroy = &::cudnnDestroy,
                                    .set_stream = &::cudnnSetStream,
                                    .create_descriptor = &::cudnnBackendCreateDescriptor,
                                    .destroy_descriptor = &::cudnnBackendDestroyDescriptor,
                                    .set_attribute = &::cudnnBackendSetAttribute,
                                    .get_attribute = &::cudnnBackendGetAttribute,
                                    .finalize = &::cudnnBackendFinalize,
                                    .execute = &::cudnnBackendExecute};
  return library;
}

}  // namespace halfpipe::cuda
