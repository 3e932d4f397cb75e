// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/manifest.h"

#include <gtest/gtest.h>

#include <random>

#include "kernels/core/error.h"
#include "tests/engine/checkpoint/scratch_directory.h"

namespace halfpipe::checkpoint {
namespace {

namespace fs = std::filesystem;

class Manifest : public testing::Test {
 protected:
  Manifest() {
    write_bytes(scratch_ / "config.json", "{\"n_layer\": 2}\n");
    write_bytes(scratch_ / "model.safetensors", std::string(1000, 'm'));
    write_bytes(scratch_ / "trainer.json", "{}");
    write_manifest(scratch_.path());
  }

  std::string refusal() {
    return message_of<FileError>([this] { verify_directory(scratch_.path()); });
  }

  ScratchDirectory scratch_;
};

TEST_F(Manifest, AWholeDirectoryVerifies) {
  EXPECT_NO_THROW(verify_directory(scratch_.path()));
}

TEST_F(Manifest, WritingItTwiceGivesTheSameBytes) {
  const std::string first = read_bytes(scratch_ / kManifestName);
  write_manifest(scratch_.path());
  EXPECT_EQ(read_bytes(scratch_ / kManifestName), first);
}

TEST_F(Manifest, EveryChangedByteIsSeenAndItsFileNamed) {
  std::mt19937 random(7);
  for (const char* name : {"config.json", "model.safetensors", "trainer.json", kManifestName}) {
    const std::string good = read_bytes(scratch_ / name);
    for (std::size_t at = 0; at < good.size(); ++at) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ static_cast<char>(1 + random() % 255));
      write_bytes(scratch_ / name, bad);
      const std::string message = refusal();
      EXPECT_TRUE(contains(message, name)) << "byte " << at << " of " << name << ": " << message;
    }
    write_bytes(scratch_ / name, good);
  }
  EXPECT_NO_THROW(verify_directory(scratch_.path()));
}

TEST_F(Manifest, EveryTruncationIsSeen) {
  for (const char* name : {"config.json", "trainer.json", kManifestName}) {
    const std::string good = read_bytes(scratch_ / name);
    for (std::size_t size = 0; size < good.size(); ++size) {
      write_bytes(scratch_ / name, good.substr(0, size));
      EXPECT_TRUE(contains(refusal(), name)) << size << " bytes of " << name;
    }
    write_bytes(scratch_ / name, good);
  }
}

TEST_F(Manifest, WhitespaceInItselfCounts) {
  std::string text = read_bytes(scratch_ / kManifestName);
  text.insert(text.find('\n'), 1, ' ');
  write_bytes(scratch_ / kManifestName, text);
  EXPECT_TRUE(contains(refusal(), kManifestName));
}

TEST_F(Manifest, DeepNestingInItselfIsRefused) {
  write_bytes(scratch_ / kManifestName, R"({"algorithm":"","version":)" + deeply_nested() + "}");
  const std::string message = refusal();
  EXPECT_TRUE(contains(message, kManifestName) && contains(message, "nested too deeply"))
      << message;
}

TEST_F(Manifest, AppendedBytesAreSeen) {
  write_bytes(scratch_ / "trainer.json", "{} ");
  EXPECT_TRUE(contains(refusal(), "too long"));
}

TEST_F(Manifest, AMissingFileIsSeen) {
  fs::remove(scratch_ / "model.safetensors");
  const std::string message = refusal();
  EXPECT_TRUE(contains(message, "model.safetensors") && contains(message, "missing")) << message;
}

TEST_F(Manifest, AnExtraFileIsSeen) {
  write_bytes(scratch_ / "notes.txt", "");
  const std::string message = refusal();
  EXPECT_TRUE(contains(message, "notes.txt") && contains(message, "extra")) << message;
}

TEST_F(Manifest, AFolderInsideIsSeen) {
  fs::create_directory(scratch_ / "folder");
  EXPECT_TRUE(contains(refusal(), "folder"));
  EXPECT_THROW(write_manifest(scratch_.path()), FileError);
}

TEST_F(Manifest, WithoutItADirectoryIsNoCheckpoint) {
  fs::remove(scratch_ / kManifestName);
  EXPECT_TRUE(contains(refusal(), "no manifest.json"));
  EXPECT_THROW(verify_directory(scratch_ / "absent"), FileError);
}

}  // namespace
}  // namespace halfpipe::checkpoint
