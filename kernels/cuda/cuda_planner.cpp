// SPDX-License-Identifier: Apache-2.0
// The CUDA backend's answers to a plan, without a device.
#include <memory>

#include "kernels/core/error.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cuda_ops.h"

namespace halfpipe::cuda {
namespace {

[[noreturn]] void refuse() {
  throw InternalError("a planner has no device to work on");
}

class NoStream final : public device::Stream {
 public:
  void record(device::Event& /*event*/) override { refuse(); }
  void wait_for(device::Event& /*event*/) override { refuse(); }
  void synchronize() override {}  // nothing was enqueued
};

class CudaPlanner final : public device::Backend {
 public:
  explicit CudaPlanner(const CudaOptions& options) : ops_(options) {}

  [[nodiscard]] std::string_view name() const override { return "cuda"; }
  [[nodiscard]] bool host_reaches_memory() const override { return false; }
  [[nodiscard]] void* allocate(std::size_t /*bytes*/, device::MemoryKind /*kind*/) override {
    refuse();
  }
  void deallocate(void* /*pointer*/, device::MemoryKind /*kind*/) noexcept override {}
  void copy_async(void* /*dst*/,
                  const void* /*src*/,
                  std::size_t /*bytes*/,
                  device::Stream& /*stream*/) override {
    refuse();
  }
  void fill_async(void* /*dst*/,
                  std::byte /*value*/,
                  std::size_t /*bytes*/,
                  device::Stream& /*stream*/) override {
    refuse();
  }
  [[nodiscard]] std::unique_ptr<device::Stream> make_stream(std::string_view /*label*/) override {
    return std::make_unique<NoStream>();
  }
  [[nodiscard]] std::unique_ptr<device::Event> make_event() override { refuse(); }
  [[nodiscard]] const ops::Ops& ops() const override { return ops_; }

 private:
  CudaOps ops_;
};

}  // namespace

std::unique_ptr<device::Backend> make_cuda_planner(const CudaOptions& options) {
  return std::make_unique<CudaPlanner>(options);
}

}  // namespace halfpipe::cuda
