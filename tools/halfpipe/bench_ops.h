// SPDX-License-Identifier: Apache-2.0
// `halfpipe bench ops`, a command below `halfpipe bench`.
#pragma once

#include <CLI/CLI.hpp>

namespace halfpipe::tools {

/// Adds it to `bench` and returns it. The callback of `bench` runs all the same, after that of
/// `ops`.
CLI::App* add_bench_ops(CLI::App& bench);

}  // namespace halfpipe::tools
