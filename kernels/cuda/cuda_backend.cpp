// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cuda_backend.h"

#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_graph.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/matmul_tuner.h"

namespace halfpipe::cuda {
namespace {

double mebibytes(std::size_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

[[noreturn]] void throw_no_device_memory(std::size_t bytes, int device_index, cudaError_t status) {
  (void)cudaGetLastError();  // as in throw_cuda_error
  std::size_t free_bytes = 0;
  std::size_t all_bytes = 0;
  HALFPIPE_CUDA_CHECK(cudaMemGetInfo(&free_bytes, &all_bytes));
  throw RuntimeFailure(fmt::format(
      "cannot allocate {} bytes ({:.1f} MiB) on GPU {}, where {:.1f} of {:.1f} MiB are free: {}",
      bytes, mebibytes(bytes), device_index, mebibytes(free_bytes), mebibytes(all_bytes),
      cudaGetErrorString(status)));
}

[[noreturn]] void throw_no_pinned_memory(std::size_t bytes, cudaError_t status) {
  (void)cudaGetLastError();
  throw RuntimeFailure(fmt::format("cannot allocate {} bytes ({:.1f} MiB) of pinned memory: {}",
                                   bytes, mebibytes(bytes), cudaGetErrorString(status)));
}

/// Before the operations are made, which a member initialiser does.
int usable_and_current(int device_index) {
  require_device(device_index);
  make_current(device_index);
  return device_index;
}

class CudaBackend final : public device::Backend {
 public:
  CudaBackend(int device_index, const CudaOptions& options)
      : device_index_(usable_and_current(device_index)),
        ops_(options),
        tuner_(ops_.matmul_plans(), device_index) {
    HALFPIPE_CHECK(options.attention != AttentionChoice::kAuto, "attention was not decided");
  }
  ~CudaBackend() override { warn_on_cuda_error(cudaSetDevice(device_index_), "cudaSetDevice"); }

  [[nodiscard]] std::string_view name() const override { return "cuda"; }
  [[nodiscard]] bool host_reaches_memory() const override { return false; }
  [[nodiscard]] std::optional<device::OwnMemory> own_memory() const override;
  [[nodiscard]] void* allocate(std::size_t bytes, device::MemoryKind kind) override;
  void deallocate(void* pointer, device::MemoryKind kind) noexcept override;
  void copy_async(void* dst, const void* src, std::size_t bytes, device::Stream& stream) override;
  void fill_async(void* dst, std::byte value, std::size_t bytes, device::Stream& stream) override;
  [[nodiscard]] std::unique_ptr<device::Stream> make_stream(std::string_view /*label*/) override {
    return std::make_unique<CudaStream>(device_index_);
  }
  [[nodiscard]] std::unique_ptr<device::Event> make_event() override {
    make_current(device_index_);
    return std::make_unique<CudaEvent>();
  }
  [[nodiscard]] const ops::Ops& ops() const override { return ops_; }
  [[nodiscard]] device::Tuner* tuner_or_null() override { return &tuner_; }
  [[nodiscard]] std::unique_ptr<device::Recording> record(
      device::Stream& stream, const std::function<void()>& work) override {
    return std::make_unique<CudaRecording>(static_cast<CudaStream&>(stream), work);
  }
  void begin_range(const char* name) override { nvtxRangePushA(name); }
  void end_range() override { nvtxRangePop(); }

 private:
  int device_index_;
  CudaOps ops_;
  MatmulTuner tuner_;
};

std::optional<device::OwnMemory> CudaBackend::own_memory() const {
  make_current(device_index_);
  std::array<char, 64> bus{};
  HALFPIPE_CUDA_CHECK(
      cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), device_index_));
  std::size_t free_bytes = 0;
  std::size_t all_bytes = 0;
  HALFPIPE_CUDA_CHECK(cudaMemGetInfo(&free_bytes, &all_bytes));
  return device::OwnMemory{bus.data(), static_cast<std::int64_t>(free_bytes)};
}

// Both kinds are at least 256-byte aligned, says CUDA's programming guide.
void* CudaBackend::allocate(std::size_t bytes, device::MemoryKind kind) {
  make_current(device_index_);
  const std::size_t some_bytes = std::max(bytes, kTensorAlignment);  // none would give null
  void* pointer = nullptr;
  switch (kind) {
    case device::MemoryKind::kDevice: {
      const cudaError_t status = cudaMalloc(&pointer, some_bytes);
      if (status != cudaSuccess) throw_no_device_memory(bytes, device_index_, status);
      break;
    }
    case device::MemoryKind::kPinned: {
      const cudaError_t status = cudaMallocHost(&pointer, some_bytes);
      if (status != cudaSuccess) throw_no_pinned_memory(bytes, status);
      break;
    }
  }
  return pointer;
}

void CudaBackend::deallocate(void* pointer, device::MemoryKind kind) noexcept {
  switch (kind) {
    case device::MemoryKind::kDevice:
      warn_on_cuda_error(cudaFree(pointer), "cudaFree");
      break;
    case device::MemoryKind::kPinned:
      warn_on_cuda_error(cudaFreeHost(pointer), "cudaFreeHost");
      break;
  }
}

void CudaBackend::copy_async(void* dst,
                             const void* src,
                             std::size_t bytes,
                             device::Stream& stream) {
  if (bytes == 0) return;
  // The addresses say which side each range is on.
  HALFPIPE_CUDA_CHECK(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, cuda_stream_of(stream)));
}

void CudaBackend::fill_async(void* dst,
                             std::byte value,
                             std::size_t bytes,
                             device::Stream& stream) {
  if (bytes == 0) return;
  HALFPIPE_CUDA_CHECK(cudaMemsetAsync(dst, static_cast<int>(value), bytes, cuda_stream_of(stream)));
}

}  // namespace

bool cuda_available() {
  return true;
}

std::unique_ptr<device::Backend> make_cuda_backend(int device_index, const CudaOptions& options) {
  return std::make_unique<CudaBackend>(device_index, options);
}

}  // namespace halfpipe::cuda
