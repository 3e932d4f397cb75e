// SPDX-License-Identifier: Apache-2.0
// Reads /proc/[pid]/stat (proc(5)).
#include "parallel/transport/process_state.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace halfpipe::transport {
namespace {

struct Stat {
  char state = '?';
  std::int64_t start_time = 0;
};

std::optional<Stat> read_stat(std::int64_t pid) {
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/%lld/stat", static_cast<long long>(pid));
  const int file = ::open(path.data(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  std::array<char, 1024> buffer{};
  const ssize_t length = ::read(file, buffer.data(), buffer.size() - 1);
  ::close(file);
  if (length <= 0) return std::nullopt;

  // The second field is the program's name in brackets, which may itself hold blanks and brackets.
  const std::string_view text(buffer.data(), static_cast<std::size_t>(length));
  std::size_t position = text.rfind(')');
  if (position == std::string_view::npos || position + 2 >= text.size()) return std::nullopt;
  position += 2;
  Stat stat{.state = text[position]};
  constexpr int kFieldsFromStateToStartTime = 19;  // field 3 to field 22
  for (int field = 0; field < kFieldsFromStateToStartTime; ++field) {
    position = text.find(' ', position);
    if (position == std::string_view::npos) return std::nullopt;
    ++position;
  }
  stat.start_time = std::strtoll(text.data() + position, nullptr, 10);
  return stat;
}

}  // namespace

ProcessIdentity this_process() {
  ProcessIdentity self{.pid = ::getpid()};
  if (const auto stat = read_stat(self.pid)) self.start_time = stat->start_time;
  return self;
}

ProcessState state_of(const ProcessIdentity& process) {
  const auto stat = read_stat(process.pid);
  if (!stat || stat->start_time != process.start_time) return ProcessState::kDead;
  switch (stat->state) {
    case 'Z':
    case 'X':
      return ProcessState::kDead;
    case 'T':
    case 't':
      return ProcessState::kStopped;
    default:
      return ProcessState::kAlive;
  }
}

}  // namespace halfpipe::transport
