// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/manifest.h"

#include "engine/checkpoint/digest.h"
#include "engine/files/json_file.h"
#include "engine/files/mapped_file.h"
#include "engine/files/output_file.h"
#include "kernels/core/error.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <string>

namespace halfpipe::checkpoint {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kVersion = 1;
constexpr const char* kAlgorithm = "xxh3-128";

struct FileRecord {
  std::uint64_t bytes;
  std::string digest;
};

/// All files but the manifest itself, sorted by name.
std::map<std::string, fs::path> files_of(const fs::path& directory) {
  std::map<std::string, fs::path> files;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(directory, error)) {
    if (!item.is_regular_file()) {
      throw FileError(
          fmt::format("{}: not a regular file, so no part of a checkpoint", item.path().string()));
    }
    const std::string name = item.path().filename().string();
    if (name != kManifestName) files.emplace(name, item.path());
  }
  if (error)
    throw FileError(fmt::format("cannot read {}: {}", directory.string(), error.message()));
  return files;
}

/// The exact text of a manifest: a function of its content, so that no byte of the file can change
/// unnoticed.
std::string make_text(const std::map<std::string, FileRecord>& records) {
  json root;  // its keys are sorted
  root["version"] = kVersion;
  root["algorithm"] = kAlgorithm;
  root["files"] = json::object();
  for (const auto& [name, record] : records) {
    root["files"][name] = {{"bytes", record.bytes}, {"digest", record.digest}};
  }
  root["digest"] = digest_of(root.dump());
  return root.dump(2) + "\n";
}

std::map<std::string, FileRecord> parse_text(const std::string& text, const fs::path& path) {
  std::map<std::string, FileRecord> records;
  try {
    const json root = files::parse_json(text, path.string());
    if (root.at("version") != kVersion || root.at("algorithm") != kAlgorithm) {
      throw FileError(fmt::format("{}: version ({}) must be {} and algorithm ({}) \"{}\"",
                                  path.string(), root["version"].dump(), kVersion,
                                  root["algorithm"].dump(), kAlgorithm));
    }
    for (const auto& [name, record] : root.at("files").items()) {
      records[name] = {record.at("bytes").get<std::uint64_t>(),
                       record.at("digest").get<std::string>()};
    }
    if (make_text(records) == text) return records;
  } catch (const json::exception&) {
    throw FileError(path.string() + ": damaged: not the JSON that was written");
  }
  throw FileError(path.string() + ": damaged: its own digest does not fit");
}

void check_file(const fs::path& path, const FileRecord& wanted) {
  std::error_code error;
  const std::uintmax_t bytes = fs::file_size(path, error);
  if (error)
    throw FileError(
        fmt::format("{}: missing from the checkpoint: {}", path.string(), error.message()));
  if (bytes != wanted.bytes) {
    throw FileError(fmt::format("{}: {}: {} bytes, the manifest says {}", path.string(),
                                bytes < wanted.bytes ? "truncated" : "too long", bytes,
                                wanted.bytes));
  }
  if (digest_of_file(path) != wanted.digest) {
    throw FileError(path.string() + ": damaged: its digest is not the one in the manifest");
  }
}

}  // namespace

void write_manifest(const fs::path& directory) {
  std::map<std::string, FileRecord> records;
  for (const auto& [name, path] : files_of(directory))
    records[name] = {fs::file_size(path), digest_of_file(path)};
  files::write_file(directory / kManifestName, make_text(records));
}

void verify_directory(const fs::path& directory) {
  if (!fs::is_directory(directory)) throw FileError(directory.string() + ": no such directory");
  const fs::path manifest = directory / kManifestName;
  if (!fs::exists(manifest)) {
    throw FileError(
        fmt::format("{}: not a whole checkpoint: it has no {}", directory.string(), kManifestName));
  }
  const std::map<std::string, FileRecord> records =
      parse_text(files::read_text_file(manifest), manifest);
  for (const auto& [name, record] : records) check_file(directory / name, record);
  for (const auto& [name, path] : files_of(directory)) {
    if (!records.contains(name))
      throw FileError(path.string() + ": extra: the manifest does not know this file");
  }
}

}  // namespace halfpipe::checkpoint
