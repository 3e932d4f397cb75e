// SPDX-License-Identifier: Apache-2.0
// SIGUSR1 and SIGTERM ask a job to save and end at the next step boundary.
#pragma once

namespace halfpipe::runtime {

/// Installs the handlers for this process, all of its ranks included; a second time changes
/// nothing. Until then the signals end the process.
void install_stop_signals();
/// Whether one of them came.
[[nodiscard]] bool stop_requested();

}  // namespace halfpipe::runtime
