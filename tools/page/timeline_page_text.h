// SPDX-License-Identifier: Apache-2.0
// The page as it is before schedules are put in: timeline_page.html with its style and scripts,
// embedded by the build (embed_page.cmake).
#pragma once

#include <string_view>

namespace halfpipe::page {

/// HTML with one place "@SCHEDULES@", which takes JSON.
extern const std::string_view kTimelinePageText;

}  // namespace halfpipe::page
