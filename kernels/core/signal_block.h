// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>

namespace halfpipe {

/// While it lives, no signal handler runs on the stack of the thread that made it; signals wait, or
/// go to another thread of the process. Faults of the thread itself (SIGSEGV and its like) are let
/// through. Threads started meanwhile inherit the block.
class SignalBlock {
 public:
  SignalBlock();
  ~SignalBlock();
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  sigset_t previous_{};
};

}  // namespace halfpipe
