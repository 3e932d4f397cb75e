// SPDX-License-Identifier: Apache-2.0
// An operation to measure: how it is called, at which shape, and what it is held against.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>

#include "tools/ops_bench/workbench.h"

namespace halfpipe::ops_bench {

/// What an operation cannot be faster than, as long as its operands are beyond the caches.
enum class Ceiling : std::uint8_t {
  kCopy,     // the bandwidth of a copy
  kProduct,  // the FLOPs per second of a large matrix product
};

struct OpCase {
  std::string operation;  // what the model calls it: "c_attn forward"
  std::string family;     // its member of ops::Ops: "matmul"
  std::string shape;
  Ceiling ceiling;
  /// Takes the operands from the bench. No two of them share memory, not even where a contract
  /// allows it: a result that takes the place of an input would change what the next run computes.
  std::function<PreparedOp(Workbench&)> prepare;
};

/// "[2048, 384]"
[[nodiscard]] std::string shape_text(std::initializer_list<std::int64_t> dims);

}  // namespace halfpipe::ops_bench
