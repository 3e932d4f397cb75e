// SPDX-License-Identifier: Apache-2.0
// Messages from GPU to GPU by NCCL. This header needs neither NCCL nor CUDA: a build without them
// has the same functions, and makes no transport (nccl_absent.cpp).
#pragma once

#include <memory>

#include "kernels/device/backend.h"
#include "parallel/transport/transport.h"

namespace halfpipe::transport {

/// Throws ConfigError in a build without NCCL.
void require_nccl();

/// Collective over the carrier, which carries all but the messages between neighbours and must
/// outlive the transport; `backend` is a CUDA backend. What fails, fails on single ranks: the
/// caller ends the job. Throws as require_nccl(), or RuntimeFailure with NCCL's words, e.g. when
/// two ranks share a GPU.
[[nodiscard]] std::unique_ptr<Transport> make_nccl_transport(Transport& carrier,
                                                             device::Backend& backend);

}  // namespace halfpipe::transport
