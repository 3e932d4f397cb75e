// SPDX-License-Identifier: Apache-2.0
// What `halfpipe bench ops` says of the operations that it measured: a table, and JSON.
#pragma once

#include <string>
#include <vector>

#include "tools/ops_bench/measure.h"
#include "tools/ops_bench/model_shape.h"

namespace halfpipe::tools {

struct OpsReport {
  ops_bench::ModelShape model;
  std::string device;
  int threads;
  double seconds_per_op;                   // that were asked for
  ops_bench::Ceilings ceilings;            // measured first; shares are of these
  ops_bench::Ceilings ceilings_after;      // measured last: has the machine become another one?
  std::vector<ops_bench::MeasuredOp> ops;  // in the order of a step
};

/// "copy 12.3 GB/s, product 104.0 GFLOP/s"
[[nodiscard]] std::string ceilings_text(const ops_bench::Ceilings& ceilings);

/// A row for each operation, under it what the columns and the ceilings are.
[[nodiscard]] std::string ops_text(const OpsReport& report);

/// {"device": {"kind", "threads"}, "model": {"B", "T", "C", "NH", "F", "V", "num_parameters",
/// "bias", "tie_embeddings", "tensor_ranks", "dtype"}, "seconds_per_operation", "ceilings":
/// {"copy": {"bytes": read and written, "repetitions", "seconds", "bytes_per_second"}, "product":
/// {"M", "N", "K", "repetitions", "seconds", "flops_per_second"}}, "ceilings_after": the same,
/// "operations":
/// [{"operation", "family": member of ops::Ops, "shape", "repetitions", "seconds": median, "bytes",
/// "flops", "bytes_per_second", "flops_per_second", "share", "of": "copy" or "product"}]}.
[[nodiscard]] std::string ops_json(const OpsReport& report);

}  // namespace halfpipe::tools
