// SPDX-License-Identifier: Apache-2.0
// Errors that all ranks of a job agree on, so that one message is printed and nobody is left
// waiting.
#pragma once

#include <exception>
#include <functional>
#include <string>

#include "kernels/core/error.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// Thrown at the same point on every rank: rank 0 alone reports it, and all end in order.
class AgreedError : public Error {
 public:
  AgreedError(const std::string& message, int exit_code) : Error(message), exit_code_(exit_code) {}
  [[nodiscard]] int exit_code() const noexcept override { return exit_code_; }

 private:
  int exit_code_;
};

/// How an exception is reported: the exit code of the process that ends with it, and the message.
struct ErrorReport {
  int exit_code;
  std::string message;
};
/// Halfpipe's own errors say it themselves. What else is thrown is a failure of the machine.
[[nodiscard]] ErrorReport report_of(const std::exception& error);

/// Runs `work` on this rank, then tells the others how it went. If it threw anywhere, throws
/// AgreedError everywhere, with the message of the lowest rank that failed. `work` must not
/// communicate. Collective.
void agree(transport::Transport& transport, const std::function<void()>& work);

}  // namespace halfpipe::runtime
