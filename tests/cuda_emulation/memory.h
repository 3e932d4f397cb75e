// SPDX-License-Identifier: Apache-2.0
// The device's memory: fresh with the bits of a NaN, guarded on both sides.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace halfpipe::cuda_emulation {

enum class Place : unsigned char { kDevice, kPinned };

/// What there is of kDevice memory: of an H100, or HALFPIPE_EMULATION_DEVICE_BYTES.
[[nodiscard]] std::size_t device_bytes();

/// 256-byte aligned. Null when there is no memory.
[[nodiscard]] void* allocate(std::size_t bytes, Place place);

/// False when `pointer` is not an allocation of that place.
[[nodiscard]] bool release(void* pointer, Place place);

/// Ends the process when a guard of a live allocation has been written to; `culprit` is the work
/// that ran last.
void check_guards(std::string_view culprit);

/// Where the range is; nothing for memory that was not allocated here. Ends the process when the
/// range begins in an allocation and does not end in it.
[[nodiscard]] std::optional<Place> check_range(const void* pointer,
                                               std::size_t bytes,
                                               std::string_view culprit);

[[nodiscard]] std::size_t allocated_bytes(Place place);

}  // namespace halfpipe::cuda_emulation
