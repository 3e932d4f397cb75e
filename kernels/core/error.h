// SPDX-License-Identifier: Apache-2.0
// The exceptions of Halfpipe and the check of its own invariants.
//
// Which one to throw: what the user can mend is a UserError (exit code 2), with a message that
// names the key or the file, the value and the rule. What the machine refuses (disk full, a lost
// rank) is a RuntimeFailure (exit code 1). HALFPIPE_CHECK guards our own invariants and throws
// InternalError (exit code 1).
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace halfpipe {

/// Base of every exception thrown on purpose.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
  /// Exit code of the process that ends with this error.
  [[nodiscard]] virtual int exit_code() const noexcept { return 1; }
};

/// The user asked for something wrong or impossible.
class UserError : public Error {
 public:
  using Error::Error;
  [[nodiscard]] int exit_code() const noexcept override { return 2; }
};

/// A key or value of the configuration or the command line is wrong.
class ConfigError : public UserError {
 public:
  using UserError::UserError;
};

/// An input file (text, token shard, checkpoint) is missing, damaged or of the wrong kind.
class FileError : public UserError {
 public:
  using UserError::UserError;
};

/// The machine refused: a write failed, a rank was lost, memory ran out.
class RuntimeFailure : public Error {
 public:
  using Error::Error;
};

/// A broken invariant of Halfpipe itself: a bug.
class InternalError : public Error {
 public:
  using Error::Error;
};

/// Throws InternalError with the place and the condition. Use HALFPIPE_CHECK. (std::source_location
/// is missing where clang 14 reads libstdc++ 12; the builtins are in both compilers.)
[[noreturn]] void fail_check(std::string_view condition,
                             std::string_view message,
                             const char* file = __builtin_FILE(),
                             int line = __builtin_LINE());

}  // namespace halfpipe

/// Always compiled in. `message` is evaluated only on failure.
#define HALFPIPE_CHECK(condition, message)           \
  do {                                               \
    if (!(condition)) [[unlikely]] {                 \
      ::halfpipe::fail_check(#condition, (message)); \
    }                                                \
  } while (false)
