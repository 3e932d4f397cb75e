// SPDX-License-Identifier: Apache-2.0
// Headless Chromium as the reader of a page: what its scripts find, what it prints, how it looks.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tools/command.h"

namespace halfpipe::tools {

class Browser {
 public:
  /// Pages and profiles go into `folder`, which must exist. Throws std::runtime_error naming the
  /// Debian package where Chromium is not installed.
  explicit Browser(std::filesystem::path folder);

  /// Opens the page, runs `script` after the page's own ones and returns what it assigns to
  /// `result`.
  [[nodiscard]] nlohmann::json evaluate(const std::string& html, const std::string& script);
  /// The page as PNG bytes.
  [[nodiscard]] std::string screenshot(const std::string& html, int width, int height);

  /// Every line that pages wrote to the console so far: errors that nothing caught among them.
  [[nodiscard]] const std::vector<std::string>& console() const { return console_; }

 private:
  /// Standard output of a visit.
  std::string visit(const std::string& html, const std::vector<std::string>& arguments);

  std::filesystem::path folder_;
  std::vector<std::string> console_;
};

}  // namespace halfpipe::tools
