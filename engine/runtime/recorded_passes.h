// SPDX-License-Identifier: Apache-2.0
// device.cuda_graphs: the passes of a program, each recorded once, to be enqueued in one call.
#pragma once

#include <compare>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "engine/model/saved_tensors.h"
#include "kernels/device/backend.h"
#include "kernels/device/recording.h"
#include "parallel/schedule/plan.h"

namespace halfpipe::runtime {

/// Passes with the same key read and write the same memory, so one recording serves all of them.
struct PassKey {
  schedule::OpKind kind;
  int chunk;
  int input_buffer;
  int output_buffer;
  std::int64_t forward_to_backward_input_offset;
  std::int64_t forward_to_backward_weight_offset;
  std::int64_t backward_input_to_backward_weight_offset;
  int micro_batch;  // where tokens or targets are read; else 0

  // NOLINTNEXTLINE(modernize-use-nullptr)
  friend auto operator<=>(const PassKey&, const PassKey&) = default;
};

class RecordedPasses {
 public:
  /// The next pass of the program, in its order: `run` enqueues it on the stream and counts what it
  /// saves and releases in `live`. Recorded when its key is new.
  void add(std::size_t instruction,
           const PassKey& key,
           device::Backend& backend,
           device::Stream& stream,
           model::LiveBytes& live,
           const std::function<void()>& run);

  /// Enqueues the pass of an instruction that was added, and counts its saved tensors.
  void enqueue(std::size_t instruction, device::Stream& stream, model::LiveBytes& live) const;

  [[nodiscard]] std::size_t num_recordings() const { return passes_.size(); }

 private:
  struct Pass {
    std::unique_ptr<device::Recording> work;
    model::LiveBytes::Change change;
  };

  std::map<PassKey, Pass> passes_;
  std::vector<const Pass*> of_instruction_;  // null: no pass
};

}  // namespace halfpipe::runtime
