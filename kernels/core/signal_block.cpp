// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/signal_block.h"

#include <initializer_list>

namespace halfpipe {
namespace {

sigset_t all_but_faults() {
  sigset_t signals;
  sigfillset(&signals);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) {
    sigdelset(&signals, fault);
  }
  return signals;
}

}  // namespace

SignalBlock::SignalBlock() {
  static const sigset_t blocked = all_but_faults();
  pthread_sigmask(SIG_BLOCK, &blocked, &previous_);
}

SignalBlock::~SignalBlock() {
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

}  // namespace halfpipe
