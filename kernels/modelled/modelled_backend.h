// SPDX-License-Identifier: Apache-2.0
// A device that takes the time a model says and computes nothing: the runtime on top of it is the
// real one, at sizes that are not there.
#pragma once

#include <memory>

#include "kernels/device/backend.h"
#include "kernels/modelled/device_model.h"

namespace halfpipe::modelled {

/// Its memory is address space alone, as much as device.memory_bytes: whoever reads or writes it
/// crashes. Pinned memory is the host's own, and counts for nothing. Copies take the time of their
/// bytes and move none of them, so what the host copies back keeps the values that it had.
[[nodiscard]] std::unique_ptr<device::Backend> make_modelled_backend(const DeviceModel& device);

/// The same without limit and without address space, for those who only want to know what work
/// takes: every allocation is the same address.
[[nodiscard]] std::unique_ptr<device::Backend> make_work_counter(const DeviceModel& device);

}  // namespace halfpipe::modelled
