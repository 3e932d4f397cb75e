// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/ranks/activity.h"

#include <cstdio>

namespace halfpipe::runtime {

void publish_activity(transport::Transport& transport, std::int64_t step, const char* activity) {
  transport::RankStatus status;
  status.step = step;
  std::snprintf(status.text, sizeof(status.text), "%s", activity);
  transport.publish(status);
}

}  // namespace halfpipe::runtime
