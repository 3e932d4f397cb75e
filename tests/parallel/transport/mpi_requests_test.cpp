// SPDX-License-Identifier: Apache-2.0
// Requests in larger numbers than one look tests. Run by every rank of an MPI job.
#include "parallel/transport/mpi_requests.h"

#include <gtest/gtest.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

#include "kernels/core/error.h"

namespace halfpipe::transport {
namespace {

using Bytes = std::vector<std::byte>;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kSome = MpiRequests::kMostTested;
// Of what takes milliseconds.
constexpr auto kLongEnough = std::chrono::seconds(20);

/// Messages of a rank to itself.
class MpiRequestsTest : public ::testing::Test {
 protected:
  MpiRequestsTest() {
    MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
  }
  ~MpiRequestsTest() override {
    MPI_Barrier(comm_);
    MPI_Comm_free(&comm_);
  }

  /// `count` receives, each of another size.
  [[nodiscard]] std::vector<Request> receive(MpiRequests& requests, std::size_t count) {
    std::vector<Request> started;
    for (std::size_t i = 0; i < count; ++i) {
      inbox_.emplace_back(i + 1);
      started.push_back(requests.start_recv(inbox_.back(), rank_));
    }
    return started;
  }
  /// What the receive of number `i` waits for.
  [[nodiscard]] Request send(MpiRequests& requests, std::size_t i) {
    outbox_.emplace_back(i + 1, static_cast<std::byte>(i));
    return requests.start_send(outbox_.back(), rank_);
  }
  [[nodiscard]] bool arrived(std::size_t i) const {
    return inbox_[i] == Bytes(i + 1, static_cast<std::byte>(i));
  }
  static void finish(MpiRequests& requests, Request request) {
    const auto end = Clock::now() + kLongEnough;
    while (!requests.test(request)) ASSERT_LT(Clock::now(), end);
    requests.finish(request);
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  // Growing moves a vector of bytes, not the bytes.
  std::vector<Bytes> inbox_;
  std::vector<Bytes> outbox_;
};

TEST_F(MpiRequestsTest, LooksAtAllInTurn) {
  MpiRequests requests(comm_);
  // The first ones wait for long, and the others are found nevertheless.
  const std::vector<Request> receives = receive(requests, 3 * kSome + 5);
  std::vector<Request> sends;
  for (std::size_t i = kSome; i < receives.size(); ++i) sends.push_back(send(requests, i));
  const auto is_completed = [&](Request request) { return requests.completed(request); };
  const auto end = Clock::now() + kLongEnough;
  while (!std::all_of(receives.begin() + kSome, receives.end(), is_completed) ||
         !std::ranges::all_of(sends, is_completed)) {
    requests.test_some();
    ASSERT_LT(Clock::now(), end);
  }
  EXPECT_EQ(requests.num_outstanding(), static_cast<int>(kSome));
  EXPECT_TRUE(std::none_of(receives.begin(), receives.begin() + kSome, is_completed));
  for (std::size_t i = 0; i < kSome; ++i) sends.push_back(send(requests, i));
  for (const Request& each : receives) finish(requests, each);
  for (const Request& each : sends) finish(requests, each);
  for (std::size_t i = 0; i < receives.size(); ++i) EXPECT_TRUE(arrived(i)) << i;
  EXPECT_EQ(requests.num_outstanding(), 0);
}

TEST_F(MpiRequestsTest, FindsTheOneThatIsWaitedForAmongMany) {
  MpiRequests requests(comm_);
  const std::vector<Request> receives = receive(requests, 4 * kSome);
  // From the middle outwards: every place of the table is given back and taken by another.
  const std::size_t middle = receives.size() / 2;
  for (std::size_t i = 0; i < middle; ++i) {
    for (const std::size_t number : {middle + i, middle - 1 - i}) {
      EXPECT_FALSE(requests.test(receives[number])) << number;
      const Request sent = send(requests, number);
      finish(requests, receives[number]);
      EXPECT_TRUE(arrived(number)) << number;
      finish(requests, sent);
    }
  }
  EXPECT_EQ(requests.num_outstanding(), 0);
}

TEST_F(MpiRequestsTest, IsLeftWithWhatNobodyWaitsFor) {
  MpiRequests requests(comm_);
  const std::vector<Request> receives = receive(requests, kSome + 3);
  const Request sent = send(requests, 7);
  finish(requests, receives[7]);
  finish(requests, sent);
  EXPECT_THROW(static_cast<void>(requests.test(receives[7])), InternalError);
  requests.abandon();
  EXPECT_EQ(requests.num_outstanding(), 0);
}

}  // namespace
}  // namespace halfpipe::transport
