// SPDX-License-Identifier: Apache-2.0
#include "tools/page/timeline_trace.h"

#include <array>
#include <string>
#include <vector>

#include "engine/trace/chrome_trace.h"

namespace halfpipe::page {

namespace {

constexpr std::array<const char*, schedule::kNumPasses> kPassNames = {"forward", "backward_input",
                                                                      "backward_weight"};

}  // namespace

void write_timeline_trace(const std::filesystem::path& path, const schedule::Timeline& timeline) {
  std::vector<std::vector<trace::TraceSpan>> ranks;
  for (const std::vector<schedule::TimedPass>& passes : timeline.ranks) {
    std::vector<trace::TraceSpan>& spans = ranks.emplace_back();
    for (const schedule::TimedPass& pass : passes) {
      const std::string name = kPassNames.at(static_cast<std::size_t>(pass.op.pass));
      spans.push_back({name + " " + std::to_string(pass.op.micro_batch), name, pass.op.stage,
                       pass.op.micro_batch, pass.start, pass.end});
    }
  }
  trace::write_chrome_trace(path, ranks);
}

}  // namespace halfpipe::page
