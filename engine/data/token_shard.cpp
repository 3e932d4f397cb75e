// SPDX-License-Identifier: Apache-2.0
// Recognising a token file and reading its tokens.
#include "engine/data/token_shard.h"

#include "kernels/core/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace halfpipe::data {

namespace {

static_assert(std::endian::native == std::endian::little,
              "token files are little-endian and mapped as they are");

constexpr std::int64_t kHeaderBytes = kShardHeaderWords * std::int64_t{sizeof(std::int32_t)};

// The first three words of an llm.c header.
struct Header {
  std::int32_t magic;
  std::int32_t version;
  std::int32_t num_tokens;
};

// Words that a short file lacks read as 0.
Header read_header(const files::MappedFile& file) {
  Header header{};
  std::memcpy(&header, file.bytes().data(), std::min(sizeof(header), file.bytes().size()));
  return header;
}

// llm.c's magic numbers are dates of 2024; read as two 16-bit tokens, the first would be 55013 or
// more, beyond GPT-2's vocabulary. And a header whose count agrees with the size of the file is no
// chance.
bool looks_like_llmc(const Header& header, std::int64_t file_bytes) {
  const bool dated = header.magic >= 20240101 && header.magic <= 20241231;
  const std::int64_t payload = file_bytes - kHeaderBytes;
  return dated || (header.num_tokens > 0 && (payload == header.num_tokens * std::int64_t{2} ||
                                             payload == header.num_tokens * std::int64_t{4}));
}

void check_llmc(const files::MappedFile& file,
                const Header& header,
                std::int32_t version,
                std::int64_t bytes_per_token) {
  const auto file_bytes = static_cast<std::int64_t>(file.bytes().size());
  if (header.version != version) {
    throw FileError(fmt::format("{}: version {} of a token shard with magic {} must be {}",
                                file.path(), header.version, header.magic, version));
  }
  if (file_bytes < kHeaderBytes) {
    throw FileError(fmt::format("{}: {} bytes are fewer than the header of a token shard ({})",
                                file.path(), file_bytes, kHeaderBytes));
  }
  if (header.num_tokens < 1) {
    throw FileError(fmt::format("{}: the token count in the header ({}) must be at least 1",
                                file.path(), header.num_tokens));
  }
  const std::int64_t wanted = kHeaderBytes + header.num_tokens * bytes_per_token;
  if (file_bytes != wanted) {
    throw FileError(fmt::format("{}: {} bytes, but {} tokens of {} bytes and the header make {}",
                                file.path(), file_bytes, header.num_tokens, bytes_per_token,
                                wanted));
  }
}

void check_raw(const files::MappedFile& file, const Header& header) {
  const auto file_bytes = static_cast<std::int64_t>(file.bytes().size());
  if (looks_like_llmc(header, file_bytes)) {
    throw FileError(fmt::format("{}: magic {} must be {} (16-bit tokens) or {} (32-bit tokens)",
                                file.path(), header.magic, kShardMagic16, kShardMagic32));
  }
  if (!file.path().ends_with(".bin")) {
    throw FileError(
        fmt::format("{}: no header of a token shard (magic {} or {}), and only files named .bin "
                    "are read as raw 16-bit tokens",
                    file.path(), kShardMagic16, kShardMagic32));
  }
  if (file_bytes % 2 != 0) {
    throw FileError(fmt::format("{}: {} bytes, but raw 16-bit tokens make an even number",
                                file.path(), file_bytes));
  }
}

template <typename Token>
void copy_tokens(const std::byte* from, std::span<std::int32_t> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    Token token;
    std::memcpy(&token, from + i * sizeof(Token), sizeof(Token));
    out[i] = static_cast<std::int32_t>(token);
  }
}

}  // namespace

TokenShard::TokenShard(const std::string& path) : file_(path) {
  const auto file_bytes = static_cast<std::int64_t>(file_.bytes().size());
  if (file_bytes == 0)
    throw FileError(fmt::format("{}: is empty; a token shard holds at least one token", path));
  const Header header = read_header(file_);
  if (header.magic == kShardMagic16) {
    check_llmc(file_, header, kShardVersion16, 2);
    offset_ = kHeaderBytes;
  } else if (header.magic == kShardMagic32) {
    check_llmc(file_, header, kShardVersion32, 4);
    offset_ = kHeaderBytes;
    bytes_per_token_ = 4;
  } else {
    check_raw(file_, header);
  }
  size_ = (file_bytes - offset_) / bytes_per_token_;
}

void TokenShard::read(std::int64_t first, std::span<std::int32_t> out) const {
  HALFPIPE_CHECK(first >= 0 && static_cast<std::int64_t>(out.size()) <= size_ - first,
                 "tokens beyond the shard");
  const std::byte* from = file_.bytes().data() + offset_ + first * bytes_per_token_;
  if (bytes_per_token_ == 4) {
    copy_tokens<std::uint32_t>(from, out);
  } else {
    copy_tokens<std::uint16_t>(from, out);
  }
}

}  // namespace halfpipe::data
