// SPDX-License-Identifier: Apache-2.0
// A GPU as a device. This header needs no CUDA: a build without CUDA has the same functions, and
// makes no backend (cuda_absent.cpp).
#pragma once

#include <memory>

#include "kernels/cuda/attention_choice.h"
#include "kernels/device/backend.h"

namespace halfpipe::cuda {

/// True when this build has the CUDA backend; a machine may still lack a GPU.
[[nodiscard]] bool cuda_available();

/// GPUs that this process can see. Throws as make_cuda_backend when there is none.
[[nodiscard]] int num_devices();

struct CudaOptions {
  bool sync_kernels = false;  // wait for each operation and name the one that failed
  AttentionChoice attention = AttentionChoice::kFlash;
};

/// One per rank, whose choices are decided, used by one thread at a time; ranks that are threads of
/// one process may share a GPU. Its calls make the GPU the calling thread's current one. Host
/// memory that is not pinned may be copied, but the host then waits for the copy. Throws
/// ConfigError in a build without CUDA, RuntimeFailure on a machine without a usable GPU, UserError
/// when there is no GPU of this index or it is too old.
[[nodiscard]] std::unique_ptr<device::Backend> make_cuda_backend(int device_index,
                                                                 const CudaOptions& options = {});

/// Says how much scratch operations need, on machines without a GPU, too; that is all it can do.
/// Where a choice is not decided, as much as either needs. Throws ConfigError in a build without
/// CUDA.
[[nodiscard]] std::unique_ptr<device::Backend> make_cuda_planner(const CudaOptions& options = {});

}  // namespace halfpipe::cuda
