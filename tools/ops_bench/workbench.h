// SPDX-License-Identifier: Apache-2.0
// The operands of one operation under measurement, and the operation put together with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <vector>

#include "kernels/core/dtype.h"
#include "kernels/device/backend.h"
#include "kernels/device/buffer.h"
#include "kernels/ops/op_cost.h"
#include "kernels/ops/ops.h"

namespace halfpipe::ops_bench {

/// An operation with its operands; enqueue runs it once more on the stream.
struct PreparedOp {
  ops::OpCost cost;
  std::function<void(device::Stream&)> enqueue;
};

/// Hands out device memory for operands and owns it; what prepare() returns lives no longer. Random
/// contents are the same in every process. A large operand repeats one random block: time does not
/// depend on that, and a model's worth of parameters is there at once. Backend and stream must
/// outlive it.
class Workbench {
 public:
  Workbench(device::Backend& backend, device::Stream& stream);

  /// Uniform in [-1, 1], in float32 or bfloat16.
  [[nodiscard]] void* values(std::int64_t count, DType dtype);
  [[nodiscard]] float* values(std::int64_t count);
  /// Zeros: what an operation overwrites or adds to.
  [[nodiscard]] void* zeros(std::int64_t count, DType dtype);
  [[nodiscard]] float* zeros(std::int64_t count);
  /// Uniform in 0 .. V-1.
  [[nodiscard]] std::int32_t* tokens(std::int64_t count, std::int64_t V);
  /// Undefined contents; null when bytes is 0.
  [[nodiscard]] std::byte* scratch(std::size_t bytes);

  [[nodiscard]] const ops::Ops& ops() const { return backend_.ops(); }
  [[nodiscard]] device::Stream& stream() const { return stream_; }

  /// `call` is a member of ops::Ops.
  template <typename Args>
  [[nodiscard]] PreparedOp prepare(void (ops::Ops::*call)(const Args&, device::Stream&) const,
                                   const std::type_identity_t<Args>& args) const {
    return {ops::cost_of(args),
            [&ops = ops(), call, args](device::Stream& stream) { (ops.*call)(args, stream); }};
  }

 private:
  [[nodiscard]] std::byte* take(std::size_t bytes);

  device::Backend& backend_;
  device::Stream& stream_;
  std::vector<device::Buffer> buffers_;
};

}  // namespace halfpipe::ops_bench
