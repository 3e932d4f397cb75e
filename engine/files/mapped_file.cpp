// SPDX-License-Identifier: Apache-2.0
// MappedFile by POSIX mmap.
#include "engine/files/mapped_file.h"

#include "kernels/core/error.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace halfpipe::files {
namespace {

[[noreturn]] void fail_reading(const std::string& path, const std::string& reason) {
  throw FileError(fmt::format("cannot read {}: {}", path, reason));
}

std::string reason_of_errno() {
  return std::generic_category().message(errno);
}

/// Open for reading. A mapping outlives the descriptor it was made from.
class InputDescriptor {
 public:
  // O_NONBLOCK: opening a pipe must fail the check for a regular file, not wait for a writer.
  explicit InputDescriptor(const std::string& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (descriptor_ < 0) fail_reading(path, reason_of_errno());
  }
  ~InputDescriptor() { ::close(descriptor_); }
  InputDescriptor(const InputDescriptor&) = delete;
  InputDescriptor& operator=(const InputDescriptor&) = delete;

  [[nodiscard]] int get() const noexcept { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path.string()) {
  const InputDescriptor file(path_);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_reading(path_, reason_of_errno());
  if (!S_ISREG(status.st_mode)) fail_reading(path_, "it is not a regular file");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return;  // mmap refuses an empty mapping
  // Some network file systems refuse MAP_SHARED; unwritten pages are shared either way.
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) fail_reading(path_, reason_of_errno());
  bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() {
  reset();
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      bytes_(std::exchange(other.bytes_, std::span<const std::byte>{})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    reset();
    path_ = std::move(other.path_);
    bytes_ = std::exchange(other.bytes_, std::span<const std::byte>{});
  }
  return *this;
}

std::string_view MappedFile::text() const noexcept {
  return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
}

void MappedFile::reset() noexcept {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  bytes_ = {};
}

std::string read_text_file(const std::filesystem::path& path) {
  return std::string(MappedFile(path).text());
}

}  // namespace halfpipe::files
