// SPDX-License-Identifier: Apache-2.0
// A folder of its own for each test, and what tests of files do there.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

namespace halfpipe::checkpoint {

/// Makes an empty folder and removes it when it goes out of scope. In memory where the machine
/// offers that: a checkpoint is flushed several times, which takes 0.1 s on a busy disk.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    for (const std::filesystem::path& root :
         {std::filesystem::path("/dev/shm"), std::filesystem::temp_directory_path()}) {
      std::string name = (root / "halfpipe-test-XXXXXX").string();
      if (mkdtemp(name.data()) == nullptr) continue;
      path_ = name;
      return;
    }
    throw std::runtime_error("no folder for temporary files");
  }
  ~ScratchDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// The message of the ExpectedError that `action` throws; a test failure when it throws none.
template <typename ExpectedError, typename Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const ExpectedError& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

/// A JSON value that a recursive function does not survive.
inline std::string deeply_nested() {
  constexpr std::size_t kDepth = 500'000;
  return std::string(kDepth, '[') + std::string(kDepth, ']');
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace halfpipe::checkpoint
