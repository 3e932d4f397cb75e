// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/kernel_launch.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "kernels/core/error.h"
#include "tests/cuda_emulation/device_limits.h"
#include "tests/cuda_emulation/executable_symbols.h"
#include "tests/cuda_emulation/grid_runner.h"
#include "tests/cuda_emulation/last_error.h"
#include "tests/cuda_emulation/stream_queue.h"

namespace halfpipe::cuda_emulation {
namespace {

/// The dynamic shared memory that kernels were allowed.
struct OptIns {
  std::mutex mutex;
  std::map<const void*, std::size_t> shared_bytes;
};

OptIns& opt_ins() {
  static OptIns instance;
  return instance;
}

std::size_t allowed_shared_bytes(const void* kernel) {
  OptIns& all = opt_ins();
  const std::lock_guard lock(all.mutex);
  const auto at = all.shared_bytes.find(kernel);
  return at == all.shared_bytes.end() ? kSharedBytes : at->second;
}

std::atomic<std::int64_t> launches = 0;

/// Why a GPU would refuse the launch; empty when it would not.
std::string refusal(const void* kernel, const Launch& launch) {
  const dim3 block = launch.block;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMaxThreadsPerBlock || block.z > kMaxBlockZ) {
    return fmt::format("a block of ({}, {}, {}) threads", block.x, block.y, block.z);
  }
  const dim3 grid = launch.grid;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > kMaxGridX || grid.y > kMaxGridYZ ||
      grid.z > kMaxGridYZ) {
    return fmt::format("a grid of ({}, {}, {}) blocks", grid.x, grid.y, grid.z);
  }
  if (launch.shared_bytes > allowed_shared_bytes(kernel)) {
    return fmt::format("{} bytes of dynamic shared memory", launch.shared_bytes);
  }
  return "";
}

}  // namespace

void enqueue_kernel(const void* kernel,
                    dim3 grid,
                    dim3 block,
                    std::size_t shared_bytes,
                    cudaStream_t stream,
                    std::function<void()> body) {
  Launch launch{function_name(kernel), grid, block, shared_bytes, std::move(body),
                current_schedule()};
  if (const std::string reason = refusal(kernel, launch); !reason.empty()) {
    throw RuntimeFailure(
        fmt::format("cuda emulation: launch of kernel {}: {}", launch.kernel, reason));
  }
  use_code(kernel);
  ++launches;
  std::string name = "kernel " + launch.kernel;
  enqueue(stream, std::move(name), [launch = std::move(launch)] { run_grid(launch); });
}

std::int64_t num_launches() {
  return launches;
}

}  // namespace halfpipe::cuda_emulation

using namespace halfpipe::cuda_emulation;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<std::size_t>(value) > kSharedBytesOptIn) {
    return remember(cudaErrorInvalidValue);
  }
  OptIns& all = opt_ins();
  const std::lock_guard lock(all.mutex);
  all.shared_bytes[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}
