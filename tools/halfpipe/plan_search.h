// SPDX-License-Identifier: Apache-2.0
// halfpipe plan --search: the best layout of a job for a number of devices.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace halfpipe::tools {

struct LayoutSearchOptions {
  std::string config;
  std::vector<std::string> settings;
  int num_ranks = 0;
  std::string memory_per_rank;  // empty: what a device has
  std::string hardware;         // profile of the devices of a job that is not modelled
  std::size_t num_best = 10;
  std::string json;
  std::string output;  // YAML file for the best one
};

void search_and_print(const LayoutSearchOptions& options);

}  // namespace halfpipe::tools
