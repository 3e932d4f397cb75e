// SPDX-License-Identifier: Apache-2.0
// NCCL in a build without it.
#include "kernels/core/error.h"
#include "parallel/transport/nccl_factory.h"

namespace halfpipe::transport {

void require_nccl() {
  throw ConfigError(
      "parallel.transport (nccl): this build has no NCCL; build with CUDA and NCCL, or use "
      "parallel.transport host");
}

void require_own_devices(Transport& /*world*/, device::Backend& /*backend*/) {}

std::unique_ptr<Transport> make_nccl_transport(Transport& /*carrier*/,
                                               device::Backend& /*backend*/,
                                               Reach /*reach*/) {
  require_nccl();
  return nullptr;
}

}  // namespace halfpipe::transport
