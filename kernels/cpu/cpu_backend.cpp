// SPDX-License-Identifier: Apache-2.0
// Memory, copies and operations of the CPU. Both kinds of memory are ordinary host memory.
#include "kernels/cpu/cpu_backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_stream.h"
#include "kernels/cpu/thread_pool.h"

namespace halfpipe::cpu {
namespace {

// Weights and activations are walked in strides of whole rows: with 4 KiB pages most of the time of
// a transposed read would be address translation.
constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;
constexpr std::int64_t kCopyBlockBytes = std::int64_t{1} << 20;

class CpuBackend final : public device::Backend {
 public:
  CpuBackend(int num_threads, std::span<const int> cpus) : pool_(num_threads, cpus), ops_(pool_) {}

  [[nodiscard]] std::string_view name() const override { return "cpu"; }
  [[nodiscard]] bool host_reaches_memory() const override { return true; }
  [[nodiscard]] void* allocate(std::size_t bytes, device::MemoryKind kind) override;
  void deallocate(void* pointer, device::MemoryKind /*kind*/) noexcept override {
    std::free(pointer);
  }
  void copy_async(void* dst, const void* src, std::size_t bytes, device::Stream& stream) override;
  void fill_async(void* dst, std::byte value, std::size_t bytes, device::Stream& stream) override;
  [[nodiscard]] std::unique_ptr<device::Stream> make_stream(std::string_view /*label*/) override {
    return std::make_unique<CpuStream>();
  }
  [[nodiscard]] std::unique_ptr<device::Event> make_event() override {
    return std::make_unique<CpuEvent>();
  }
  [[nodiscard]] const ops::Ops& ops() const override { return ops_; }

 private:
  ThreadPool pool_;
  CpuOps ops_;
};

void* CpuBackend::allocate(std::size_t bytes, device::MemoryKind /*kind*/) {
  const bool is_large = bytes >= kHugePageBytes;
  const std::size_t alignment = is_large ? kHugePageBytes : kTensorAlignment;
  void* pointer = nullptr;
  if (posix_memalign(&pointer, alignment, std::max(bytes, alignment)) != 0) {
    throw RuntimeFailure(fmt::format("out of memory: cannot allocate {} bytes ({:.1f} MiB)", bytes,
                                     static_cast<double>(bytes) / (1 << 20)));
  }
  if (is_large) {
    // Only a hint: a kernel without huge pages refuses it, and nothing is lost.
    (void)madvise(pointer, bytes / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
  }
  return pointer;
}

void CpuBackend::copy_async(void* dst,
                            const void* src,
                            std::size_t bytes,
                            device::Stream& /*stream*/) {
  for_each_block(pool_, static_cast<std::int64_t>(bytes), kCopyBlockBytes,
                 [&](std::int64_t begin, std::int64_t end) {
                   std::memcpy(static_cast<std::byte*>(dst) + begin,
                               static_cast<const std::byte*>(src) + begin,
                               static_cast<std::size_t>(end - begin));
                 });
}

void CpuBackend::fill_async(void* dst,
                            std::byte value,
                            std::size_t bytes,
                            device::Stream& /*stream*/) {
  for_each_block(pool_, static_cast<std::int64_t>(bytes), kCopyBlockBytes,
                 [&](std::int64_t begin, std::int64_t end) {
                   std::memset(static_cast<std::byte*>(dst) + begin, static_cast<int>(value),
                               static_cast<std::size_t>(end - begin));
                 });
}

}  // namespace

std::unique_ptr<device::Backend> make_cpu_backend(int num_threads, std::span<const int> cpus) {
  return std::make_unique<CpuBackend>(num_threads, cpus);
}

}  // namespace halfpipe::cpu
