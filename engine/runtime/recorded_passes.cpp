// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/recorded_passes.h"

#include "kernels/core/error.h"

namespace halfpipe::runtime {

void RecordedPasses::add(std::size_t instruction,
                         const PassKey& key,
                         device::Backend& backend,
                         device::Stream& stream,
                         model::LiveBytes& live,
                         const std::function<void()>& run) {
  auto found = passes_.find(key);
  if (found == passes_.end()) {
    Pass pass;
    pass.change = live.change_by([&] { pass.work = backend.record(stream, run); });
    HALFPIPE_CHECK(pass.work != nullptr, "device.cuda_graphs on a device that records nothing");
    found = passes_.emplace(key, std::move(pass)).first;
  } else {
    live.apply(found->second.change);
  }
  if (of_instruction_.size() <= instruction) of_instruction_.resize(instruction + 1, nullptr);
  of_instruction_[instruction] = &found->second;  // a map's values stay where they are
}

void RecordedPasses::enqueue(std::size_t instruction,
                             device::Stream& stream,
                             model::LiveBytes& live) const {
  HALFPIPE_CHECK(instruction < of_instruction_.size() && of_instruction_[instruction] != nullptr,
                 "a pass was not recorded");
  const Pass& pass = *of_instruction_[instruction];
  pass.work->enqueue(stream);
  live.apply(pass.change);
}

}  // namespace halfpipe::runtime
