// SPDX-License-Identifier: Apache-2.0
// What of the state of a training each rank saves: every element is saved by one of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/model/parameter.h"
#include "engine/optimizer/adamw.h"
#include "engine/runtime/step/replica_parts.h"
#include "kernels/core/dtype.h"
#include "parallel/mesh.h"

namespace halfpipe::runtime {

enum class StateKind : std::uint8_t { kValue, kFirstMoment, kSecondMoment };

/// Elements first .. last - 1 of a rank's slice of a parameter's values or of one of its moments.
struct SavedPart {
  const model::Parameter* parameter;
  StateKind kind;
  std::int64_t first;
  std::int64_t last;
  DType dtype;
  const void* values;  // of `first` and on, on the device

  [[nodiscard]] std::int64_t count() const { return last - first; }
  [[nodiscard]] std::size_t bytes() const {
    return static_cast<std::size_t>(count()) * size_of(dtype);
  }
};

/// Of the rank at a place in the mesh. Parts point into its parameters and moments.
[[nodiscard]] std::vector<SavedPart> saved_parts(const model::ParameterSet& set,
                                                 const optimizer::AdamW& adamw,
                                                 const ReplicaParts& replicas,
                                                 const parallel::Coordinates& place);

/// The bytes of saved_parts, known before there are any; each part padded as in an arena.
/// `replicas`: of these parameters.
[[nodiscard]] std::int64_t saved_bytes(const std::vector<model::Parameter>& parameters,
                                       const ReplicaParts& replicas,
                                       DType moments,
                                       const parallel::Coordinates& place);

/// Whether the rank makes the files of its stages and gives them their names.
[[nodiscard]] inline bool leads_its_stages(const parallel::Coordinates& place) {
  return place.data == 0 && place.tensor == 0;
}

}  // namespace halfpipe::runtime
