// SPDX-License-Identifier: Apache-2.0
#include "engine/optimizer/roll_back.h"

#include <array>

#include "kernels/core/align.h"
#include "kernels/core/error.h"

namespace halfpipe::optimizer {
namespace {

/// Values, first moments, second moments.
std::array<std::size_t, 3> parts_of(const SteppedPiece& piece, DType moments) {
  const auto count = static_cast<std::size_t>(piece.elements.count());
  return {count * sizeof(float), count * size_of(moments), count * size_of(moments)};
}

std::size_t place_bytes(const SteppedPiece& piece, DType moments) {
  std::size_t bytes = 0;
  for (const std::size_t part : parts_of(piece, moments)) bytes += padded_bytes(part);
  return bytes;
}

}  // namespace

std::size_t roll_back_bytes(const std::vector<ElementRanges>& held, const OptimizerConfig& config) {
  std::size_t bytes = 0;
  for (const SteppedPiece& piece : stepped_pieces(held, config)) {
    bytes += place_bytes(piece, config.moments);
  }
  return bytes;
}

RollBack::RollBack(const AdamW& adamw,
                   model::ParameterSet& parameters,
                   device::Backend& backend,
                   std::size_t bytes)
    : adamw_(adamw), parameters_(parameters), backend_(backend), memory_(backend, bytes) {
  std::byte* place = memory_.bytes_pointer();
  for (const SteppedPiece& piece : adamw.pieces()) {
    places_.push_back(place);
    place += place_bytes(piece, adamw.moment_dtype());
  }
  HALFPIPE_CHECK(place == memory_.bytes_pointer() ||
                     static_cast<std::size_t>(place - memory_.bytes_pointer()) <= bytes,
                 "what a step overwrites needs more memory");
}

void RollBack::keep(std::size_t piece, device::Stream& stream) {
  move(piece, Way::kKeep, stream);
}

void RollBack::put_back(std::size_t piece, device::Stream& stream) {
  move(piece, Way::kPutBack, stream);
}

void RollBack::move(std::size_t piece, Way way, device::Stream& stream) {
  const SteppedPiece& stepped = adamw_.pieces()[piece];
  float* const values = parameters_.all()[stepped.parameter].value + stepped.elements.begin;
  const AdamW::Moments moments = adamw_.moments_of_piece(piece);
  const std::array<std::byte*, 3> live = {reinterpret_cast<std::byte*>(values), moments.first,
                                          moments.second};
  const std::array<std::size_t, 3> sizes = parts_of(stepped, adamw_.moment_dtype());
  std::byte* place = places_[piece];
  for (std::size_t part = 0; part < live.size(); ++part) {
    std::byte* const to = way == Way::kKeep ? place : live[part];
    const std::byte* const from = way == Way::kKeep ? live[part] : place;
    backend_.copy_async(to, from, sizes[part], stream);
    place += padded_bytes(sizes[part]);
  }
}

}  // namespace halfpipe::optimizer
