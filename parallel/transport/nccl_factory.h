// SPDX-License-Identifier: Apache-2.0
// Messages from GPU to GPU by NCCL. This header needs neither NCCL nor CUDA: a build without them
// has the same functions, and makes no transport (nccl_absent.cpp).
#pragma once

#include <memory>

#include "kernels/device/backend.h"
#include "parallel/transport/reach.h"
#include "parallel/transport/transport.h"

namespace halfpipe::transport {

/// Throws ConfigError in a build without NCCL.
void require_nccl();

/// Collective. Throws UserError when two ranks of the job share a GPU: messages by NCCL may wait
/// for kernels of the other one. Nothing in a build without NCCL.
void require_own_devices(Transport& world, device::Backend& backend);

/// Collective over the carrier, which carries all but the messages and must outlive the transport;
/// `backend` is a CUDA backend. What fails, fails on single ranks: the caller ends the job. Throws
/// as require_nccl(), or RuntimeFailure with NCCL's words.
[[nodiscard]] std::unique_ptr<Transport> make_nccl_transport(Transport& carrier,
                                                             device::Backend& backend,
                                                             Reach reach);

}  // namespace halfpipe::transport
