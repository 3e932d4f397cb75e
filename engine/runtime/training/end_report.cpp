// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/end_report.h"

#include <fmt/format.h>

#include "engine/runtime/median.h"

namespace halfpipe::runtime {

std::string end_report(const std::vector<RankPeak>& ranks) {
  constexpr double kMebibyte = 1024.0 * 1024.0;
  std::string text =
      fmt::format("{:<16}{:>12}{:>12}{:>12}\n", "memory, MiB", "planned", "resident", "outside");
  for (std::size_t first = 0; first < ranks.size();) {
    std::size_t end = first;
    std::int64_t planned = 0;
    while (end < ranks.size() && ranks[end].process == ranks[first].process) {
      planned += ranks[end++].planned;
    }
    const std::string name = end - first == 1 ? fmt::format("  rank {}", first)
                                              : fmt::format("  ranks {}-{}", first, end - 1);
    const std::int64_t resident = ranks[first].resident;
    text += fmt::format("{:<16}{:>12.2f}{:>12.2f}{:>12.2f}\n", name,
                        static_cast<double>(planned) / kMebibyte,
                        static_cast<double>(resident) / kMebibyte,
                        static_cast<double>(resident - planned) / kMebibyte);
    first = end;
  }
  return text + "  outside the plan: code, MPI's buffers, what libraries keep inside";
}

std::string early_line(const EarlySteps& early, std::int64_t steps) {
  return fmt::format(
      "post-validation {} of {} steps begun before the norm was known, {} put back and done "
      "again\n",
      early.begun, steps, early.put_back);
}

std::string exchange_line(const ExposedExchange& exposed) {
  constexpr double kMilliseconds = 1e3;
  std::string text =
      fmt::format("replicas        gradients exposed for {:.2f} ms a step after the last pass",
                  kMilliseconds * median_of(exposed.gradients));
  if (!exposed.parameters.empty()) {
    text +=
        fmt::format(", parameters for {:.2f} ms", kMilliseconds * median_of(exposed.parameters));
  }
  return text + " (medians)\n";
}

}  // namespace halfpipe::runtime
