// SPDX-License-Identifier: Apache-2.0
// The one exception of this folder: what was asked has no valid schedule. A user error (exit code
// 2).
#pragma once

#include <stdexcept>

namespace halfpipe::schedule {

class ScheduleError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace halfpipe::schedule
