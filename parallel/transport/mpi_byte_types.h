// SPDX-License-Identifier: Apache-2.0
// Messages longer than the counts of MPI-3, which are ints.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <vector>

namespace halfpipe::transport {

/// The (count, type) that name a number of bytes to MPI: up to a limit that many MPI_BYTE, beyond
/// it one element of a datatype that is blocks of the limit and a rest. Such types are made once
/// per size and kept.
class MpiByteTypes {
 public:
  static constexpr std::size_t kLongestPlain = std::size_t{1} << 30U;

  /// Another limit than kLongestPlain is for tests.
  explicit MpiByteTypes(std::size_t longest_plain = kLongestPlain)
      : longest_plain_(longest_plain) {}
  ~MpiByteTypes();
  MpiByteTypes(const MpiByteTypes&) = delete;
  MpiByteTypes& operator=(const MpiByteTypes&) = delete;

  struct Elements {
    int count;
    MPI_Datatype type;
  };
  [[nodiscard]] Elements elements_of(std::size_t num_bytes);

 private:
  [[nodiscard]] MPI_Datatype make(std::size_t num_bytes) const;

  struct Made {
    std::size_t num_bytes;
    MPI_Datatype type;
  };
  std::size_t longest_plain_;
  std::vector<Made> made_;
};

/// Bytes that a completed or probed message brought.
[[nodiscard]] std::size_t arrived_bytes(const MPI_Status& status);

}  // namespace halfpipe::transport
