// SPDX-License-Identifier: Apache-2.0
// Messages beyond the counts of MPI: with a limit of a few bytes on how much one count names, so
// that nobody needs 2 GiB for them. Run by every rank of an MPI job.
#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "kernels/core/error.h"
#include "parallel/transport/mpi_byte_types.h"
#include "parallel/transport/mpi_requests.h"

namespace halfpipe::transport {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kLimit = 1000;
constexpr std::size_t kGibibyte = std::size_t{1} << 30U;

Bytes message(int src, std::size_t size, int number) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>(i * 31 + i / kLimit + static_cast<std::size_t>(src) * 7 +
                                      static_cast<std::size_t>(number) * 101);
  }
  return bytes;
}

/// A ring of all ranks over requests with a small limit.
class MpiLongMessage : public ::testing::Test {
 protected:
  MpiLongMessage() {
    MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiLongMessage() override {
    MPI_Barrier(comm_);
    MPI_Comm_free(&comm_);
  }
  [[nodiscard]] int next() const { return (rank_ + 1) % size_; }
  [[nodiscard]] int previous() const { return (rank_ + size_ - 1) % size_; }
  static void finish(MpiRequests& requests, Request request) {
    while (!requests.test(request)) {
    }
    requests.finish(request);
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
};

TEST_F(MpiLongMessage, TypesHaveExactlyTheBytesAskedFor) {
  MpiByteTypes types;
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, kGibibyte, kGibibyte + 1, 2 * kGibibyte - 1, 2 * kGibibyte,
        2 * kGibibyte + 1, 4 * kGibibyte, 5 * kGibibyte + 12345, 4096 * kGibibyte + 7}) {
    const MpiByteTypes::Elements elements = types.elements_of(bytes);
    MPI_Count size = 0;
    MPI_Count begin = 0;
    MPI_Count extent = 0;
    MPI_Type_size_x(elements.type, &size);
    MPI_Type_get_extent_x(elements.type, &begin, &extent);
    EXPECT_EQ(static_cast<std::size_t>(size * elements.count), bytes);
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(extent, size) << "no gaps";
    EXPECT_EQ(types.elements_of(bytes).type, elements.type) << "made once per size";
  }
}

TEST_F(MpiLongMessage, MessagesOnBothSidesOfTheLimitArriveInOrder) {
  MpiRequests requests(comm_, kLimit);
  constexpr int kPerSize = 3;
  std::vector<Bytes> inbox;
  std::vector<Bytes> outbox;
  for (const std::size_t bytes : {std::size_t{999}, kLimit, kLimit + 1, 2 * kLimit, 2 * kLimit + 1,
                                  3 * kLimit - 1, 1000 * kLimit + 17}) {
    for (int number = 0; number < kPerSize; ++number) {
      inbox.emplace_back(bytes);
      outbox.push_back(message(rank_, bytes, number));
    }
  }
  std::vector<Request> started;
  for (std::size_t k = 0; k < inbox.size(); ++k) {
    if (k % 2 == 0) started.push_back(requests.start_recv(inbox[k], previous()));
    started.push_back(requests.start_send(outbox[k], next()));
    if (k % 2 != 0) started.push_back(requests.start_recv(inbox[k], previous()));
  }
  for (auto at = started.rbegin(); at != started.rend(); ++at) finish(requests, *at);
  for (std::size_t k = 0; k < inbox.size(); ++k) {
    const int number = static_cast<int>(k) % kPerSize;
    EXPECT_TRUE(inbox[k] == message(previous(), inbox[k].size(), number))
        << "message " << number << " of " << inbox[k].size() << " bytes";
  }
}

TEST_F(MpiLongMessage, ALongMessageOfAnotherSizeIsNamed) {
  const Bytes sent(3 * kLimit + 500);
  Bytes received(2 * kLimit);
  MpiRequests requests(comm_, kLimit);
  const Request receive = requests.start_recv(received, previous());
  static_cast<void>(requests.start_send(sent, next()));  // never received
  try {
    for (;;) {
      requests.test_some();
      requests.check_size(receive);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  } catch (const InternalError& error) {
    EXPECT_NE(std::string(error.what())
                  .find("receive of 2000 bytes, but rank " + std::to_string(previous()) +
                        " sent 3500 bytes"),
              std::string::npos)
        << error.what();
  }
  MPI_Barrier(comm_);
  requests.abandon();
}

}  // namespace
}  // namespace halfpipe::transport
