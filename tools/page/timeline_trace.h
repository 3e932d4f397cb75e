// SPDX-License-Identifier: Apache-2.0
// A planned timeline in the format of the measured ones, so that Perfetto shows both.
#pragma once

#include <filesystem>

#include "parallel/schedule/simulate.h"

namespace halfpipe::page {

/// One track per rank, one bar per pass, named as in the trace of a step ("forward 3"): the two
/// open side by side. Throws RuntimeFailure naming the file.
void write_timeline_trace(const std::filesystem::path& path, const schedule::Timeline& timeline);

}  // namespace halfpipe::page
