// SPDX-License-Identifier: Apache-2.0
// Figures of one benched schedule, by the conventions of docs/benchmarking.md.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "engine/runtime/planning/throughput.h"
#include "tools/halfpipe/benched_schedule.h"

namespace halfpipe::tools {

/// Of a step, seconds.
struct ExchangeFigures {
  runtime::ExposedSeconds exposed;
  // On modelled devices, whose links are known.
  std::optional<double> planned;          // planned_exchange_seconds
  std::optional<double> busiest_adapter;  // busiest_adapter_seconds

  /// Where the links are known: what the busiest rank does behind its passes, at least. Messages
  /// that overlap take less than is planned, but never less than their bytes.
  [[nodiscard]] std::optional<double> hidden_share() const {
    if (!busiest_adapter) return std::nullopt;
    return std::max(0.0, 1.0 - exposed.total() / *busiest_adapter);
  }
};

/// Only of a schedule that was run.
struct BenchFigures {
  double step_seconds;  // median
  double fastest_seconds;
  double slowest_seconds;
  runtime::Throughput throughput;   // of the median step
  std::int64_t planned_peak_bytes;  // of activations, most of any rank
  std::int64_t measured_peak_bytes;
  std::int64_t planned_total_bytes;  // of everything, most of any rank
  std::int64_t measured_total_bytes;
  std::int64_t num_instructions;            // of the longest program
  double host_cpu_seconds;                  // in the executor, median step, most of any rank
  std::optional<ExchangeFigures> exchange;  // where several replicas ran
};

/// Of the exchange one bucket after another, and of the gradients of a tied table before it.
[[nodiscard]] double planned_exchange_seconds(const BenchedSchedule& benched);

[[nodiscard]] BenchFigures figures_of(const BenchedSchedule& benched);

/// Of the whole job: on modelled devices those of replicas that did not run, too.
[[nodiscard]] int num_devices(const config::RunConfig& config);

}  // namespace halfpipe::tools
