// SPDX-License-Identifier: Apache-2.0
// What the symbol table of the running program (ELF) says of functions and of shared memory.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace halfpipe::cuda_emulation {

/// The function's name and parameters as written in C++; its address when the table lacks it.
[[nodiscard]] std::string function_name(const void* function);

/// A __shared__ variable of a function in namespace halfpipe::cuda: a static variable of a
/// function, one per thread of the operating system.
struct SharedVariable {
  std::size_t offset;  // in the program's thread-local storage
  std::size_t bytes;
};

[[nodiscard]] std::span<const SharedVariable> shared_variables();

/// Of the calling thread; null when the program has none.
[[nodiscard]] std::byte* thread_local_storage();

}  // namespace halfpipe::cuda_emulation
