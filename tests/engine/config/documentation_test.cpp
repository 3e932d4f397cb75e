// SPDX-License-Identifier: Apache-2.0
// docs/configuration.md and the table of keys say the same.
#include "engine/config/hardware_profile.h"
#include "engine/config/key_table.h"
#include "engine/config/load_config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace halfpipe::config {
namespace {

std::string documentation() {
  std::ifstream file(HALFPIPE_SOURCE_DIR "/docs/configuration.md");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string row_of(const KeyDoc& doc) {
  return fmt::format("| `{}` | {} | `{}` | {} | {} |\n", doc.path, doc.type, doc.default_value,
                     doc.rule.empty() ? "-" : doc.rule, doc.text);
}

TEST(Documentation, HasTheRowOfEveryKey) {
  const std::string text = documentation();
  for (const KeyDoc& doc : key_docs()) {
    EXPECT_NE(text.find(row_of(doc)), std::string::npos)
        << "docs/configuration.md lacks this row:\n"
        << row_of(doc);
  }
}

TEST(Documentation, HasNoRowOfAKeyThatDoesNotExist) {
  const std::string text = documentation();
  const std::string start = "\n| `";
  for (std::size_t at = text.find(start); at != std::string::npos; at = text.find(start, at + 1)) {
    const std::size_t begin = at + start.size();
    const std::string path = text.substr(begin, text.find('`', begin) - begin);
    // Other tables begin their rows with names and settings.
    const bool is_path = path.find('.') != std::string::npos && path.find(' ') == std::string::npos;
    EXPECT_TRUE(!is_path || find_key_or_null(path) != nullptr) << path;
  }
}

// Every fenced block of YAML is a whole file that loads.
TEST(Documentation, ExamplesLoad) {
  const std::string text = documentation();
  const std::string fence = "```yaml\n";
  int num_examples = 0;
  for (std::size_t at = text.find(fence); at != std::string::npos; at = text.find(fence, at + 1)) {
    const std::size_t begin = at + fence.size();
    const std::string yaml = text.substr(begin, text.find("```", begin) - begin);
    const bool hardware = yaml.find("memory_rate:") != std::string::npos;
    EXPECT_NO_THROW(hardware ? static_cast<void>(parse_hardware(yaml, "example"))
                             : static_cast<void>(parse_config(yaml, "example", {})))
        << yaml;
    ++num_examples;
  }
  EXPECT_GE(num_examples, 2);
}

}  // namespace
}  // namespace halfpipe::config
