// SPDX-License-Identifier: Apache-2.0
// What the emulated device says of itself: as an H100 with 80 GB (CUDA C++ Programming Guide,
// "Compute capabilities", 9.0).
#pragma once

#include <cstddef>

namespace halfpipe::cuda_emulation {

inline constexpr int kComputeCapabilityMajor = 9;
inline constexpr int kComputeCapabilityMinor = 0;
inline constexpr int kMultiprocessors = 132;
inline constexpr std::size_t kDeviceBytes = std::size_t{80} << 30;  // unless memory.h says less
inline constexpr int kL2CacheBytes = 50 << 20;
inline constexpr std::size_t kSharedBytes = 48 * 1024;        // per block, without asking for more
inline constexpr std::size_t kSharedBytesOptIn = 227 * 1024;  // per block
inline constexpr std::size_t kMaxThreadsPerBlock = 1024;
inline constexpr unsigned kMaxBlockZ = 64;
inline constexpr unsigned kMaxGridX = 0x7fffffffU;
inline constexpr unsigned kMaxGridYZ = 65535;

}  // namespace halfpipe::cuda_emulation
