// SPDX-License-Identifier: Apache-2.0
// The messages that bring every part of a bucket to every replica.
#pragma once

#include <vector>

#include "engine/runtime/step/gradient_buckets.h"
#include "kernels/device/stream.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// Starts to overwrite the others' parts by theirs and to send mine; adds what has to be waited
/// for. floats: the bucket's, of gradients or of values. Every replica starts the same messages in
/// the same order.
void start_gather(const GradientBucket& bucket,
                  float* floats,
                  transport::Transport& replicas,
                  device::Stream& stream,
                  std::vector<transport::Request>& requests);

}  // namespace halfpipe::runtime
