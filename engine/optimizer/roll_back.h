// SPDX-License-Identifier: Apache-2.0
// What steps overwrite, kept so that they can be undone bit for bit. A copy: to compute backwards
// what AdamW did does not give the same bits, since each of its sums was rounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/model/parameter.h"
#include "engine/optimizer/adamw.h"
#include "kernels/device/backend.h"
#include "kernels/device/buffer.h"

namespace halfpipe::optimizer {

class RollBack {
 public:
  /// bytes: to take, at least roll_back_bytes of what adamw steps. All must outlive this.
  RollBack(const AdamW& adamw,
           model::ParameterSet& parameters,
           device::Backend& backend,
           std::size_t bytes);

  /// Keeps values and moments of a piece of adamw.pieces(). Ordered by the stream.
  void keep(std::size_t piece, device::Stream& stream);
  /// Puts back what keep() kept last. Copies in bfloat16 stay: a step overwrites them, or they have
  /// to be rounded anew.
  void put_back(std::size_t piece, device::Stream& stream);

  [[nodiscard]] std::size_t bytes() const { return memory_.bytes(); }

 private:
  enum class Way : std::uint8_t { kKeep, kPutBack };
  void move(std::size_t piece, Way way, device::Stream& stream);

  const AdamW& adamw_;
  model::ParameterSet& parameters_;
  device::Backend& backend_;
  device::Buffer memory_;
  std::vector<std::byte*> places_;  // [pieces]: values, first moments, second moments
};

/// Bytes for what a rank that holds these elements steps.
[[nodiscard]] std::size_t roll_back_bytes(const std::vector<ElementRanges>& held,
                                          const OptimizerConfig& config);

}  // namespace halfpipe::optimizer
