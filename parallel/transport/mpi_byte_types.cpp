// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/mpi_byte_types.h"

#include <array>

#include "parallel/transport/mpi_error.h"

namespace halfpipe::transport {

MpiByteTypes::~MpiByteTypes() {
  // Messages that still use one keep it.
  for (Made& each : made_) MPI_Type_free(&each.type);
}

MpiByteTypes::Elements MpiByteTypes::elements_of(std::size_t num_bytes) {
  if (num_bytes <= longest_plain_) return {static_cast<int>(num_bytes), MPI_BYTE};
  for (const Made& each : made_) {
    if (each.num_bytes == num_bytes) return {1, each.type};
  }
  made_.push_back({num_bytes, make(num_bytes)});
  return {1, made_.back().type};
}

MPI_Datatype MpiByteTypes::make(std::size_t num_bytes) const {
  const std::size_t num_blocks = num_bytes / longest_plain_;
  const std::size_t rest = num_bytes % longest_plain_;
  MPI_Datatype block = MPI_DATATYPE_NULL;
  MPI_Datatype whole = MPI_DATATYPE_NULL;
  HALFPIPE_MPI_CHECK(MPI_Type_contiguous(static_cast<int>(longest_plain_), MPI_BYTE, &block));
  const std::array<int, 2> counts{static_cast<int>(num_blocks), static_cast<int>(rest)};
  const std::array<MPI_Aint, 2> offsets{0, static_cast<MPI_Aint>(num_blocks * longest_plain_)};
  const std::array<MPI_Datatype, 2> types{block, MPI_BYTE};
  HALFPIPE_MPI_CHECK(
      MPI_Type_create_struct(2, counts.data(), offsets.data(), types.data(), &whole));
  HALFPIPE_MPI_CHECK(MPI_Type_commit(&whole));
  HALFPIPE_MPI_CHECK(MPI_Type_free(&block));
  return whole;
}

std::size_t arrived_bytes(const MPI_Status& status) {
  MPI_Count bytes = 0;
  MPI_Get_elements_x(&status, MPI_BYTE, &bytes);
  return static_cast<std::size_t>(bytes);
}

}  // namespace halfpipe::transport
