// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/digest.h"

#include "kernels/core/error.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <system_error>
#include <vector>

namespace halfpipe::checkpoint {

struct Digest::State {
  // The library's own allocation: the state needs 64-byte alignment.
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> xxh3{XXH3_createState(), XXH3_freeState};
};

Digest::Digest() : state_(std::make_unique<State>()) {
  HALFPIPE_CHECK(state_->xxh3 != nullptr, "no memory for the state of a digest");
  XXH3_128bits_reset(state_->xxh3.get());
}

Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->xxh3.get(), bytes.data(), bytes.size());
}

std::string Digest::hex() const {
  XXH128_canonical_t canonical{};
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_->xxh3.get()));
  std::string text;
  for (const unsigned char byte : canonical.digest) text += fmt::format("{:02x}", byte);
  return text;
}

std::string digest_of(std::string_view text) {
  Digest digest;
  digest.update(text);
  return digest.hex();
}

std::string digest_of_file(const std::filesystem::path& path) {
  // Read, not mapped: a disk error is then a message and not a SIGBUS.
  constexpr std::size_t kBlockBytes = 1U << 20U;
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ssize_t count = descriptor < 0 ? -1 : 0;
  int reason = errno;
  Digest digest;
  if (descriptor >= 0) {
    std::vector<std::byte> block(kBlockBytes);
    while ((count = read(descriptor, block.data(), block.size())) != 0) {
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) break;
      digest.update(std::span(block).first(static_cast<std::size_t>(count)));
    }
    reason = errno;
    close(descriptor);
  }
  if (count < 0) {
    throw FileError(
        fmt::format("cannot read {}: {}", path.string(), std::generic_category().message(reason)));
  }
  return digest.hex();
}

}  // namespace halfpipe::checkpoint
