// SPDX-License-Identifier: Apache-2.0
#include "engine/trace/chrome_trace.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"

namespace halfpipe::trace {

namespace {

constexpr double kMicroseconds = 1e6;

nlohmann::ordered_json span_event(const TraceSpan& span, std::size_t rank) {
  nlohmann::ordered_json event = {{"name", span.name},
                                  {"cat", span.category},
                                  {"ph", "X"},
                                  {"pid", 0},
                                  {"tid", rank},
                                  {"ts", span.start * kMicroseconds},
                                  {"dur", (span.end - span.start) * kMicroseconds}};
  if (span.stage >= 0) event["args"] = {{"stage", span.stage}, {"micro_batch", span.micro_batch}};
  return event;
}

}  // namespace

void write_chrome_trace(const std::filesystem::path& path,
                        const std::vector<std::vector<TraceSpan>>& ranks) {
  nlohmann::ordered_json events = nlohmann::ordered_json::array();
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    events.push_back({{"name", "thread_name"},
                      {"ph", "M"},
                      {"pid", 0},
                      {"tid", rank},
                      {"args", {{"name", "pipeline rank " + std::to_string(rank)}}}});
    for (const TraceSpan& span : ranks[rank]) events.push_back(span_event(span, rank));
  }
  std::ofstream out(path, std::ios::trunc);
  out << nlohmann::ordered_json{{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}}
             .dump();
  out.close();
  if (!out) {
    throw RuntimeFailure(path.string() + ": cannot write: " + std::strerror(errno));
  }
}

}  // namespace halfpipe::trace
