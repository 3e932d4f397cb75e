// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/ranks/agreement.h"

#include <new>
#include <stdexcept>

#include "parallel/schedule/schedule_error.h"

namespace halfpipe::runtime {

namespace {

constexpr int kUserError = 2;
constexpr int kFailure = 1;

/// Exit code 0: it went well.
ErrorReport attempt(const std::function<void()>& work) {
  try {
    work();
    return {0, {}};
  } catch (const std::exception& error) {
    return report_of(error);
  }
}

}  // namespace

ErrorReport report_of(const std::exception& error) {
  if (const auto* ours = dynamic_cast<const Error*>(&error)) {
    return {ours->exit_code(), ours->what()};
  }
  if (dynamic_cast<const schedule::ScheduleError*>(&error) != nullptr) {
    return {kUserError, error.what()};
  }
  // A container that would be longer than any memory throws length_error instead.
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
      dynamic_cast<const std::length_error*>(&error) != nullptr) {
    return {kFailure, "out of memory: the machine refused a request for more"};
  }
  return {kFailure, error.what()};
}

void agree(transport::Transport& transport, const std::function<void()>& work) {
  const ErrorReport mine = attempt(work);
  std::string record(1, static_cast<char>(mine.exit_code));
  record += mine.message;
  for (const auto& other : transport.all_gather(std::as_bytes(std::span(record)))) {
    const int exit_code = static_cast<int>(other[0]);
    if (exit_code == 0) continue;
    const auto* text = reinterpret_cast<const char*>(other.data());
    throw AgreedError(std::string(text + 1, other.size() - 1), exit_code);
  }
}

}  // namespace halfpipe::runtime
