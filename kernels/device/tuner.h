// SPDX-License-Identifier: Apache-2.0
// Choices among several ways to compute the same thing, which differ in speed and in bits: measured
// once and then kept, so that ranks and runs that share them have the same bits.
#pragma once

#include <map>
#include <string>

namespace halfpipe::device {

struct TunedChoice {
  std::string algorithm;       // in the backend's words; nobody else reads it
  double seconds = 0.0;        // of one operation, measured
  double first_seconds = 0.0;  // of the way that is taken without tuning

  friend bool operator==(const TunedChoice&, const TunedChoice&) = default;
};

/// By kind of operation: all that the choice may depend on, in words.
using TunedChoices = std::map<std::string, TunedChoice>;

class Tuner {
 public:
  virtual ~Tuner() = default;
  Tuner() = default;
  Tuner(const Tuner&) = delete;
  Tuner& operator=(const Tuner&) = delete;

  /// Device and library, in words: choices made for others mean nothing here.
  [[nodiscard]] virtual std::string made_for() const = 0;
  /// From now on these hold, and no others. One that the library refuses throws RuntimeFailure when
  /// its kind is next used.
  virtual void use(TunedChoices choices) = 0;
  /// Until end_measuring: an operation of a kind without a choice is run in all its ways, many
  /// times, and the host waits for them. What it writes is undefined then.
  virtual void begin_measuring() = 0;
  /// All choices, those of use() and those measured since.
  virtual TunedChoices end_measuring() = 0;
};

}  // namespace halfpipe::device
