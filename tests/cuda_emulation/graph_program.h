// SPDX-License-Identifier: Apache-2.0
// What a graph of cuDNN's computes, on the host: one operation after the other, each on whole
// tensors. A result is in memory before the next operation reads, so that a tensor which is written
// where another is still needed shows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace halfpipe::cuda_emulation {

struct GraphTensor {
  enum class Place : std::uint8_t { kMemory, kBetween, kHostValue };
  enum class Element : std::uint8_t { kFloat32, kBFloat16, kInt32, kBoolean };

  std::int64_t id;
  Place place;
  Element element;
  std::array<std::int64_t, 4> shape;
  std::array<std::int64_t, 4> strides;
  std::int64_t alignment;  // bytes
};

/// Elements from the first to the last, gaps included.
[[nodiscard]] std::int64_t extent_of(const GraphTensor& tensor);
/// In memory.
[[nodiscard]] std::size_t bytes_of(const GraphTensor& tensor);

struct GraphOperation {
  enum class Kind : std::uint8_t {
    kMatmul,  // of the last two dimensions
    kAdd,
    kSubtract,
    kMultiply,
    kDivide,
    kExp,
    kLog,
    kIndex,    // the place along `axis`
    kAtLeast,  // inputs 0 and 1 compared
    kSelect,   // input 0 where input 2 holds, else 1
    kMaximum,  // along the dimensions of which the result has 1, as the next
    kSum,
    kReinterpret,  // the same elements at the same offsets
  };

  Kind kind;
  std::int64_t axis;
  GraphTensor result;
  std::vector<GraphTensor> inputs;  // a dimension of 1 stands for as many as there are
};

using GraphProgram = std::vector<GraphOperation>;

/// Addresses by id, of tensors in memory and of values on the host.
void run(const GraphProgram& program, const std::map<std::int64_t, void*>& addresses);

}  // namespace halfpipe::cuda_emulation
