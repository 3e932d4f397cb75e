// SPDX-License-Identifier: Apache-2.0
// A timeline as a picture: a self-contained SVG for READMEs and reports.
#pragma once

#include <string>

#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {

/// One row per rank; F, B and W in three colours, later chunks in lighter shades, micro-batch
/// numbers where they fit, a time axis, a legend, the bubble under the title and each rank's peak
/// memory at the end of its row. 1000 pixels wide on a white ground. time_unit names what the
/// timeline counts in where that is not seconds ("forward passes of a block").
[[nodiscard]] std::string render_svg(const Timeline& timeline,
                                     const std::string& title,
                                     const std::string& time_unit = "");

}  // namespace halfpipe::schedule
