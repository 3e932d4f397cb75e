// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/digest.h"

#include <gtest/gtest.h>

#include "engine/checkpoint/parameter_hash.h"
#include "kernels/core/error.h"
#include "tests/engine/checkpoint/scratch_directory.h"

namespace halfpipe::checkpoint {
namespace {

TEST(Digest, IsXxh128InCanonicalOrder) {
  // `printf '' | xxh128sum` and the XXH3 specification's value of the empty input.
  EXPECT_EQ(digest_of(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(digest_of("a").size(), 32U);
}

TEST(Digest, DoesNotDependOnHowTheBytesAreCut) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * 7919 % 251);
  for (const std::size_t step : {1U, 7U, 64U, 255U, 1024U, 4999U}) {
    Digest digest;
    for (std::size_t at = 0; at < text.size(); at += step) digest.update(text.substr(at, step));
    EXPECT_EQ(digest.hex(), digest_of(text)) << "cut every " << step;
  }
}

TEST(Digest, OfAFileIsThatOfItsContent) {
  const ScratchDirectory scratch;
  const std::string text(3'000'001, 'x');
  write_bytes(scratch / "file", text);
  EXPECT_EQ(digest_of_file(scratch / "file"), digest_of(text));
  const std::string message =
      message_of<FileError>([&] { (void)digest_of_file(scratch / "absent"); });
  EXPECT_TRUE(contains(message, "absent") && contains(message, "No such file")) << message;
}

TEST(ParameterHash, SeesEveryBitAndEveryName) {
  const float zero[2] = {0.0F, 1.0F};
  const float minus_zero[2] = {-0.0F, 1.0F};
  EXPECT_NE(parameter_digest(zero), parameter_digest(minus_zero));
  const std::string hash =
      parameter_hash({{"a", parameter_digest(zero)}, {"b", parameter_digest(zero)}});
  EXPECT_NE(hash, parameter_hash({{"a", parameter_digest(zero)}}));
  EXPECT_NE(hash, parameter_hash({{"a", parameter_digest(zero)}, {"c", parameter_digest(zero)}}));
}

}  // namespace
}  // namespace halfpipe::checkpoint
