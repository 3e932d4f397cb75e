// SPDX-License-Identifier: Apache-2.0
// How much memory the ranks of a job find on their machine, and how many of them share it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

namespace halfpipe::runtime {

/// Bytes that this process and its neighbours may take together: physical memory, or less where a
/// control group says so (version 2: memory.max; version 1: memory.limit_in_bytes; its own group's
/// and those of all groups around it). `root` is where /proc and /sys are, for tests.
[[nodiscard]] std::int64_t memory_of_machine(const std::filesystem::path& root = "/");

/// getenv(), for tests: null where a variable is not set.
using Environment = std::function<const char*(const char*)>;
[[nodiscard]] const char* variable_of_process(const char* name);

/// How many of the job's ranks are on this machine, as a launcher's variables say (Open MPI, MPICH
/// and its kin, Slurm: there the largest number on any machine). All of them where no launcher
/// started as many processes as the job has ranks: they are threads of one process then, or none
/// runs yet.
[[nodiscard]] int ranks_on_this_machine(int num_ranks,
                                        const Environment& variable = variable_of_process);

}  // namespace halfpipe::runtime
