// SPDX-License-Identifier: Apache-2.0
// The device of a command that runs a model by itself: --device and --threads.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "kernels/device/backend.h"

namespace halfpipe::tools {

struct InferenceDevice {
  std::string kind = "cpu";
  int threads = 0;  // of the CPU; 0: all that the process may use
};

/// `device` must outlive the parsing.
void add_device_options(CLI::App& command, InferenceDevice& device);

/// Throws ConfigError for --threads with a GPU and in a build without CUDA, and what
/// cuda::make_cuda_backend throws.
[[nodiscard]] std::unique_ptr<device::Backend> make_backend(const InferenceDevice& device);

}  // namespace halfpipe::tools
