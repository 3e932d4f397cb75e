// SPDX-License-Identifier: Apache-2.0
// manifest.json: size and digest of every file of a checkpoint, and a digest of itself.
#pragma once

#include <filesystem>

namespace halfpipe::checkpoint {

inline constexpr const char* kManifestName = "manifest.json";

/// Writes the manifest of a directory from the files in it now; the last file to be written.
/// FileError when the directory holds anything but regular files.
void write_manifest(const std::filesystem::path& directory);

/// Checks every byte of the directory against its manifest. Throws FileError that names the first
/// file that is missing, truncated, damaged or extra.
void verify_directory(const std::filesystem::path& directory);

}  // namespace halfpipe::checkpoint
