// SPDX-License-Identifier: Apache-2.0
// NCCL's communicator, as a way from one rank to another, and its errors.
#pragma once

#include <cuda_runtime.h>
#include <nccl.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace halfpipe::transport {

enum class NcclRole : std::uint8_t { kSender, kReceiver };

/// What the receiver needs to find the sender; NCCL listens for it in the process that calls.
/// Throws RuntimeFailure.
[[nodiscard]] ncclUniqueId make_nccl_id();

/// Of two ranks. No call waits for the other one: the caller asks is_ready() before it calls
/// anything else. All throw RuntimeFailure "<call>: <NCCL's words>".
class NcclCommunicator {
 public:
  /// Begins to connect, on the current device.
  NcclCommunicator(const ncclUniqueId& id, NcclRole role);
  /// Aborts, unless close() came to its end.
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  /// Whether the last call has come to its end. Throws, too, for what went wrong since.
  [[nodiscard]] bool is_ready() const;
  /// Enqueues a message of `num_bytes` > 0, which the stream's device reads or writes.
  void send(const std::byte* bytes, std::size_t num_bytes, cudaStream_t stream);
  void receive(std::byte* bytes, std::size_t num_bytes, cudaStream_t stream);
  /// Begins the end, which both sides have to begin.
  void close();
  /// Leaves the end to abort(). Nothing else can be called afterwards.
  [[nodiscard]] ncclComm_t release() noexcept { return std::exchange(handle_, nullptr); }
  /// Ends the kernels of messages under way. May wait for the other side to do so, too.
  static void abort(ncclComm_t handle_or_null) noexcept;

 private:
  void check(ncclResult_t result, const char* call) const;

  ncclComm_t handle_ = nullptr;
  bool closing_ = false;
};

}  // namespace halfpipe::transport
