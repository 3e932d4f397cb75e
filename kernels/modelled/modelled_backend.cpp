// SPDX-License-Identifier: Apache-2.0
#include "kernels/modelled/modelled_backend.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstdint>
#include <map>

#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "kernels/modelled/modelled_ops.h"
#include "kernels/modelled/modelled_stream.h"

namespace halfpipe::modelled {
namespace {

constexpr double kGibibyte = 1 << 30;

/// Everything but memory.
class ModelledWork : public device::Backend {
 public:
  explicit ModelledWork(const DeviceModel& device) : device_(device), ops_(device) {}

  [[nodiscard]] std::string_view name() const override { return "modelled"; }
  [[nodiscard]] bool host_reaches_memory() const override { return true; }  // nothing is read
  void copy_async(void* /*dst*/,
                  const void* /*src*/,
                  std::size_t bytes,
                  device::Stream& stream) override {
    move(2.0 * static_cast<double>(bytes), stream);
  }
  void fill_async(void* /*dst*/,
                  std::byte /*value*/,
                  std::size_t bytes,
                  device::Stream& stream) override {
    move(static_cast<double>(bytes), stream);
  }
  [[nodiscard]] std::unique_ptr<device::Stream> make_stream(std::string_view /*label*/) override {
    return std::make_unique<ModelledStream>();
  }
  [[nodiscard]] std::unique_ptr<device::Event> make_event() override {
    return std::make_unique<ModelledEvent>();
  }
  [[nodiscard]] const ops::Ops& ops() const override { return ops_; }

 protected:
  [[nodiscard]] const DeviceModel& model() const { return device_; }

 private:
  void move(double bytes, device::Stream& stream) const {
    static_cast<ModelledStream&>(stream).enqueue(device_.seconds({0.0, bytes}));
  }

  DeviceModel device_;
  ModelledOps ops_;
};

class ModelledBackend final : public ModelledWork {
 public:
  using ModelledWork::ModelledWork;
  ~ModelledBackend() override {
    for (const auto& [pointer, bytes] : sizes_) ::munmap(pointer, bytes);
  }
  [[nodiscard]] void* allocate(std::size_t bytes, device::MemoryKind kind) override;
  void deallocate(void* pointer, device::MemoryKind kind) noexcept override;

 private:
  std::map<void*, std::size_t> sizes_;  // of what is allocated
  std::int64_t allocated_ = 0;          // of device memory, bytes
};

void* ModelledBackend::allocate(std::size_t bytes, device::MemoryKind kind) {
  const auto wanted = static_cast<std::int64_t>(bytes);
  const bool on_device = kind == device::MemoryKind::kDevice;
  if (on_device && wanted > model().memory_bytes - allocated_) {
    throw RuntimeFailure(fmt::format(
        "out of memory: cannot allocate {} bytes ({:.2f} GiB); the modelled device has {:.2f} GiB, "
        "{:.2f} GiB of them taken",
        bytes, static_cast<double>(bytes) / kGibibyte,
        static_cast<double>(model().memory_bytes) / kGibibyte,
        static_cast<double>(allocated_) / kGibibyte));
  }
  // Nobody may touch what the device is said to hold; pinned memory is the host's own.
  void* const pointer = ::mmap(nullptr, bytes, on_device ? PROT_NONE : PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, /*fd=*/-1, 0);
  if (pointer == MAP_FAILED) {
    throw RuntimeFailure(
        fmt::format("out of address space: cannot map {} bytes for the modelled device", bytes));
  }
  sizes_[pointer] = bytes;
  if (on_device) allocated_ += wanted;
  return pointer;
}

void ModelledBackend::deallocate(void* pointer, device::MemoryKind kind) noexcept {
  const auto found = sizes_.find(pointer);
  if (found == sizes_.end()) return;
  ::munmap(pointer, found->second);
  if (kind == device::MemoryKind::kDevice) allocated_ -= static_cast<std::int64_t>(found->second);
  sizes_.erase(found);
}

class WorkCounter final : public ModelledWork {
 public:
  using ModelledWork::ModelledWork;
  [[nodiscard]] void* allocate(std::size_t /*bytes*/, device::MemoryKind /*kind*/) override {
    return &place_;
  }
  void deallocate(void* /*pointer*/, device::MemoryKind /*kind*/) noexcept override {}

 private:
  alignas(kTensorAlignment) std::byte place_{};
};

}  // namespace

std::unique_ptr<device::Backend> make_modelled_backend(const DeviceModel& device) {
  return std::make_unique<ModelledBackend>(device);
}

std::unique_ptr<device::Backend> make_work_counter(const DeviceModel& device) {
  return std::make_unique<WorkCounter>(device);
}

}  // namespace halfpipe::modelled
