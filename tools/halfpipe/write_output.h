// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace halfpipe::tools {

/// An option and the path that it has; empty: it was not given.
struct NamedFile {
  const char* option;
  std::string path;
};

/// To be asked before anything takes long: throws, naming the option, when an output's folder does
/// not exist (RuntimeFailure), or when it is a folder itself or the file of another output or input
/// (ConfigError). "-" for --json is no file.
void check_outputs(const std::vector<NamedFile>& outputs,
                   const std::vector<NamedFile>& inputs = {});

/// Writes a file that the user named: whole or absent; but what is no regular file, such as a
/// device, is written to, not replaced. Throws RuntimeFailure that names the file.
void write_output(const std::string& path, std::string_view text);

}  // namespace halfpipe::tools
