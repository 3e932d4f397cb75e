// SPDX-License-Identifier: Apache-2.0
// Ends the process with an exit code, without another message: somebody has printed one already.
#pragma once

#include "kernels/core/error.h"

namespace halfpipe::tools {

class ReportedError : public Error {
 public:
  explicit ReportedError(int exit_code) : Error("reported"), exit_code_(exit_code) {}
  [[nodiscard]] int exit_code() const noexcept override { return exit_code_; }

 private:
  int exit_code_;
};

}  // namespace halfpipe::tools
