// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/signal_block.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace halfpipe {
namespace {

std::atomic<int> num_handled{0};

extern "C" void count_signal(int /*signal*/) {
  ++num_handled;
}

class SignalBlockTest : public ::testing::Test {
 protected:
  SignalBlockTest() {
    num_handled = 0;
    previous_ = std::signal(SIGUSR2, count_signal);
  }
  ~SignalBlockTest() override { std::signal(SIGUSR2, previous_); }

 private:
  void (*previous_)(int) = nullptr;
};

bool is_blocked(int signal) {
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  return sigismember(&blocked, signal) == 1;
}

TEST_F(SignalBlockTest, HoldsSignalsBackUntilItEnds) {
  {
    const SignalBlock block;
    ::raise(SIGUSR2);
    EXPECT_EQ(num_handled, 0);
  }
  EXPECT_EQ(num_handled, 1);
}

TEST_F(SignalBlockTest, RestoresAnOuterBlock) {
  const SignalBlock outer;
  { const SignalBlock inner; }
  EXPECT_TRUE(is_blocked(SIGUSR2));
}

TEST_F(SignalBlockTest, LetsFaultsThrough) {
  const SignalBlock block;
  EXPECT_TRUE(is_blocked(SIGTERM));
  EXPECT_FALSE(is_blocked(SIGSEGV));
  EXPECT_FALSE(is_blocked(SIGABRT));
}

TEST_F(SignalBlockTest, IsOfOneThreadAndOfThoseItStarts) {
  EXPECT_FALSE(is_blocked(SIGUSR2));
  bool inherited = false;
  {
    const SignalBlock block;
    std::thread([&] { inherited = is_blocked(SIGUSR2); }).join();
  }
  EXPECT_TRUE(inherited);
  EXPECT_FALSE(is_blocked(SIGUSR2));
}

}  // namespace
}  // namespace halfpipe
