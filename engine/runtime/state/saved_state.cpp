// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/state/saved_state.h"

#include "engine/runtime/state/held_moments.h"
#include "kernels/core/align.h"

namespace halfpipe::runtime {

namespace {

/// What tensor ranks hold whole, all of them hold.
bool has_slice(const model::Parameter& parameter, const parallel::Coordinates& place) {
  return parameter.owned && (place.tensor == 0 || !parameter.slice.is_whole());
}

bool saves_values(const model::Parameter& parameter, const parallel::Coordinates& place) {
  return place.data == 0 && has_slice(parameter, place);
}

/// Where every replica holds the same moments, one of them saves them for all.
bool saves_moments(const model::Parameter& parameter,
                   const ReplicaParts& replicas,
                   const parallel::Coordinates& place) {
  return (place.data == 0 || replicas.is_sharded()) && has_slice(parameter, place);
}

}  // namespace

std::vector<SavedPart> saved_parts(const model::ParameterSet& set,
                                   const optimizer::AdamW& adamw,
                                   const ReplicaParts& replicas,
                                   const parallel::Coordinates& place) {
  std::vector<SavedPart> parts;
  const std::vector<model::Parameter>& parameters = set.all();
  const DType moments = adamw.moment_dtype();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const model::Parameter& each = parameters[i];
    if (saves_values(each, place)) {
      parts.push_back({&each, StateKind::kValue, 0, each.count(), DType::kFloat32, each.value});
    }
    if (!saves_moments(each, replicas, place)) continue;
    for (const HeldMoments& held : held_moments(adamw, i)) {
      parts.push_back(
          {&each, StateKind::kFirstMoment, held.first, held.last, moments, held.first_moment});
      parts.push_back(
          {&each, StateKind::kSecondMoment, held.first, held.last, moments, held.second_moment});
    }
  }
  return parts;
}

std::int64_t saved_bytes(const std::vector<model::Parameter>& parameters,
                         const ReplicaParts& replicas,
                         DType moments,
                         const parallel::Coordinates& place) {
  std::size_t bytes = 0;
  const std::vector<optimizer::ElementRanges>& stepped = replicas.stepped_by(place.data);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const model::Parameter& each = parameters[i];
    if (saves_values(each, place)) {
      bytes += padded_bytes(static_cast<std::size_t>(each.count()) * sizeof(float));
    }
    if (!saves_moments(each, replicas, place)) continue;
    for (const optimizer::ElementRange& range : stepped[i]) {
      bytes += 2 * padded_bytes(static_cast<std::size_t>(range.count()) * size_of(moments));
    }
  }
  return static_cast<std::int64_t>(bytes);
}

}  // namespace halfpipe::runtime
