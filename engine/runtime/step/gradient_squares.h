// SPDX-License-Identifier: Apache-2.0
// The squares of the gradient norm, parameter by parameter: sums of blocks of elements, added in
// the order of the blocks whoever computed them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/parameter.h"
#include "engine/optimizer/element_ranges.h"
#include "kernels/device/arena.h"
#include "kernels/device/backend.h"
#include "kernels/device/buffer.h"
#include "kernels/ops/reduction.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

class GradientSquares {
 public:
  /// held: for each replica that computes sums, the elements whose gradients it has, by parameter
  /// of the set; ranges begin at multiples of ops::kSquaresCut. One replica alone has all. replicas
  /// may be null then. All but held must outlive this.
  GradientSquares(const model::ParameterSet& parameters,
                  const std::vector<std::vector<optimizer::ElementRanges>>& held,
                  device::Backend& backend,
                  transport::Transport* replicas_or_null);

  /// Enqueues the sums of this rank's blocks, and their way to the first replica. Collective among
  /// the replicas that compute some. Takes bytes_for() of the workspace.
  void start(device::Arena& workspace, device::Stream& stream);
  /// Once the stream has been synchronized, on the first replica: sums[global_index] = sum of
  /// squares of the gradient of each parameter that this rank owns; the other entries stay.
  void read(std::span<double> sums) const;

  /// Of the workspace, whoever computes which blocks.
  [[nodiscard]] static std::size_t bytes_for(const std::vector<model::Parameter>& parameters,
                                             device::Backend& backend);

 private:
  /// Blocks that lie side by side, in the gradient and among the sums.
  struct Piece {
    std::size_t parameter;
    optimizer::ElementRange elements;
    std::size_t first_sum;
    std::size_t num_sums;
  };

  const model::ParameterSet& parameters_;
  device::Backend& backend_;
  transport::Transport* replicas_or_null_;  // null: nobody else has sums
  std::vector<std::size_t> cuts_;           // [computing replicas + 1]: whose sums are where
  std::vector<Piece> own_;
  std::vector<ops::SumOfSquares> own_sums_;  // [own pieces]
  std::vector<Piece> all_;                   // in the order of parameters and elements
  device::Buffer host_sums_;                 // pinned
};

}  // namespace halfpipe::runtime
