// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/agreement.h"

#include <exception>
#include <new>

#include "parallel/schedule/schedule_error.h"

namespace halfpipe::runtime {

namespace {

struct Outcome {
  int exit_code = 0;  // 0: it went well
  std::string message;
};

Outcome attempt(const std::function<void()>& work) {
  try {
    work();
    return {};
  } catch (const Error& error) {
    return {error.exit_code(), error.what()};
  } catch (const schedule::ScheduleError& error) {
    return {2, error.what()};
  } catch (const std::exception& error) {
    return {1, error.what()};
  }
}

}  // namespace

void agree(transport::Transport& transport, const std::function<void()>& work) {
  const Outcome mine = attempt(work);
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
