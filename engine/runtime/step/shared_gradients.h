// SPDX-License-Identifier: Apache-2.0
// Gradients of parameters that every tensor rank holds whole, while each has added up those of its
// own tokens only: scales and shifts of norms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/model/parameter.h"
#include "engine/model/tensor_group.h"
#include "kernels/device/backend.h"
#include "kernels/device/buffer.h"

namespace halfpipe::runtime {

class SharedGradients {
 public:
  /// Parameters are allocated; all must outlive this.
  SharedGradients(model::ParameterSet& parameters,
                  device::Backend& backend,
                  model::TensorGroup& group);

  /// Replaces each of these gradients by the sum over the tensor ranks, in their order: the same
  /// bits on all of them. Collective among them. Ordered by the stream.
  void sum(device::Stream& stream);

  [[nodiscard]] std::size_t bytes() const { return memory_.bytes(); }
  /// What the constructor takes.
  [[nodiscard]] static std::size_t bytes_for(const model::ParameterSet& parameters);

 private:
  [[nodiscard]] float* part(int rank) const {
    return memory_.as<float>() + static_cast<std::int64_t>(rank) * count_;
  }

  model::ParameterSet& parameters_;
  device::Backend& backend_;
  model::TensorGroup& group_;
  std::int64_t count_;     // elements of all of them
  device::Buffer memory_;  // [tensor ranks, count]
};

}  // namespace halfpipe::runtime
