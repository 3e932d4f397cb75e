// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step/gradient_squares.h"

#include <algorithm>
#include <tuple>

#include "kernels/core/align.h"
#include "kernels/ops/ops.h"

namespace halfpipe::runtime {
namespace {

/// What several ranks hold counts once.
bool is_counted(const model::Parameter& parameter) {
  return parameter.owned && parameter.counts_in_norm;
}

}  // namespace

GradientSquares::GradientSquares(const model::ParameterSet& parameters,
                                 const std::vector<std::vector<optimizer::ElementRanges>>& held,
                                 device::Backend& backend,
                                 transport::Transport* replicas_or_null)
    : parameters_(parameters),
      backend_(backend),
      replicas_or_null_(held.size() > 1 ? replicas_or_null : nullptr),
      cuts_{0} {
  const std::size_t me =
      replicas_or_null_ == nullptr ? 0 : static_cast<std::size_t>(replicas_or_null_->rank());
  std::size_t num_sums = 0;
  for (std::size_t replica = 0; replica < held.size(); ++replica) {
    for (std::size_t i = 0; i < parameters.all().size(); ++i) {
      if (!is_counted(parameters.all()[i])) continue;
      for (const optimizer::ElementRange& range : held[replica][i]) {
        const auto count = static_cast<std::size_t>(backend.ops().num_square_blocks(range.count()));
        all_.push_back({i, range, num_sums, count});
        if (replica == me) {
          own_.push_back(all_.back());
          own_sums_.push_back({.out = nullptr,
                               .x = parameters.all()[i].gradient + range.begin,
                               .count = range.count()});
        }
        num_sums += count;
      }
    }
    cuts_.push_back(num_sums);
  }
  std::ranges::sort(all_, {}, [](const Piece& piece) {
    return std::tuple(piece.parameter, piece.elements.begin);
  });
  host_sums_ = device::Buffer(backend, num_sums * sizeof(double), device::MemoryKind::kPinned);
}

std::size_t GradientSquares::bytes_for(const std::vector<model::Parameter>& parameters,
                                       device::Backend& backend) {
  std::size_t num_sums = 0;
  for (const model::Parameter& parameter : parameters) {
    if (!is_counted(parameter)) continue;
    num_sums += static_cast<std::size_t>(backend.ops().num_square_blocks(parameter.count()));
  }
  return padded_bytes(num_sums * sizeof(double));
}

void GradientSquares::start(device::Arena& workspace, device::Stream& stream) {
  const device::ArenaScope scope(workspace);
  auto* const sums = workspace.take<double>(static_cast<std::int64_t>(cuts_.back()));
  for (std::size_t i = 0; i < own_.size(); ++i) own_sums_[i].out = sums + own_[i].first_sum;
  backend_.ops().sum_of_squares_pieces(own_sums_, stream);
  const auto bytes_of = [&](std::size_t replica) {
    return std::span(reinterpret_cast<std::byte*>(sums + cuts_[replica]),
                     (cuts_[replica + 1] - cuts_[replica]) * sizeof(double));
  };
  const int me = replicas_or_null_ == nullptr ? 0 : replicas_or_null_->rank();
  if (me != 0) {
    const auto mine = bytes_of(static_cast<std::size_t>(me));
    if (!mine.empty()) {
      replicas_or_null_->wait(replicas_or_null_->send(mine, 0, stream), stream);
    }
    return;
  }
  for (std::size_t replica = 1; replica + 1 < cuts_.size(); ++replica) {
    const auto theirs = bytes_of(replica);
    if (theirs.empty()) continue;
    const int from = static_cast<int>(replica);
    replicas_or_null_->wait(replicas_or_null_->post_recv(theirs, from, stream), stream);
  }
  if (host_sums_.bytes() > 0) {
    backend_.copy_async(host_sums_.bytes_pointer(), sums, host_sums_.bytes(), stream);
  }
}

void GradientSquares::read(std::span<double> sums) const {
  const auto* const blocks = host_sums_.as<double>();
  for (std::size_t i = 0; i < all_.size(); ++i) {
    const Piece& piece = all_[i];
    double& sum = sums[static_cast<std::size_t>(parameters_.all()[piece.parameter].global_index)];
    if (i == 0 || all_[i - 1].parameter != piece.parameter) sum = 0.0;
    for (std::size_t b = 0; b < piece.num_sums; ++b) sum += blocks[piece.first_sum + b];
  }
}

}  // namespace halfpipe::runtime
