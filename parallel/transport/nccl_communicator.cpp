// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/nccl_communicator.h"

#include <cstdio>
#include <string>

#include <fmt/format.h>

#include "kernels/core/error.h"

namespace halfpipe::transport {
namespace {

constexpr int kNumRanks = 2;
// Blocks of threads that a message occupies, from its post on: two of the 132 multiprocessors of an
// H100. NCCL_MAX_CTAS overrides it.
constexpr int kMaxCtas = 2;

int rank_of(NcclRole role) {
  return role == NcclRole::kSender ? 0 : 1;
}

void warn(ncclResult_t result, const char* call) noexcept {
  if (result == ncclSuccess || result == ncclInProgress) return;
  std::fprintf(stderr, "halfpipe: warning: %s: %s\n", call, ncclGetErrorString(result));
}

}  // namespace

ncclUniqueId make_nccl_id() {
  ncclUniqueId id{};
  const ncclResult_t result = ncclGetUniqueId(&id);
  if (result == ncclSuccess) return id;
  throw RuntimeFailure(fmt::format("ncclGetUniqueId: {}", ncclGetErrorString(result)));
}

NcclCommunicator::NcclCommunicator(const ncclUniqueId& id, NcclRole role) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  config.maxCTAs = kMaxCtas;
  const ncclResult_t result =
      ncclCommInitRankConfig(&handle_, kNumRanks, id, rank_of(role), &config);
  try {
    check(result, "ncclCommInitRankConfig");
  } catch (...) {
    abort(release());
    throw;
  }
}

NcclCommunicator::~NcclCommunicator() {
  ncclResult_t state = ncclSuccess;
  if (closing_ && handle_ != nullptr && ncclCommGetAsyncError(handle_, &state) == ncclSuccess &&
      state == ncclSuccess) {
    warn(ncclCommDestroy(handle_), "ncclCommDestroy");
  } else {
    abort(release());
  }
}

void NcclCommunicator::abort(ncclComm_t handle_or_null) noexcept {
  if (handle_or_null != nullptr) warn(ncclCommAbort(handle_or_null), "ncclCommAbort");
}

bool NcclCommunicator::is_ready() const {
  ncclResult_t state = ncclSuccess;
  check(ncclCommGetAsyncError(handle_, &state), "ncclCommGetAsyncError");
  check(state, "NCCL");
  return state == ncclSuccess;
}

void NcclCommunicator::send(const std::byte* bytes, std::size_t num_bytes, cudaStream_t stream) {
  check(ncclSend(bytes, num_bytes, ncclUint8, rank_of(NcclRole::kReceiver), handle_, stream),
        "ncclSend");
}

void NcclCommunicator::receive(std::byte* bytes, std::size_t num_bytes, cudaStream_t stream) {
  check(ncclRecv(bytes, num_bytes, ncclUint8, rank_of(NcclRole::kSender), handle_, stream),
        "ncclRecv");
}

void NcclCommunicator::close() {
  closing_ = true;
  check(ncclCommFinalize(handle_), "ncclCommFinalize");
}

void NcclCommunicator::check(ncclResult_t result, const char* call) const {
  if (result == ncclSuccess || result == ncclInProgress) return;
  // In words: "Duplicate GPU detected ...".
  const char* const details = ncclGetLastError(handle_);
  const std::string known = details == nullptr ? "" : details;
  throw RuntimeFailure(fmt::format("{}: {}{}", call, ncclGetErrorString(result),
                                   known.empty() ? "" : fmt::format(" ({})", known)));
}

}  // namespace halfpipe::transport
