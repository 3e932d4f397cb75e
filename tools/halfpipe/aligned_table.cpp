// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/aligned_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace halfpipe::tools {

std::string aligned_table(const std::vector<std::string>& columns,
                          const std::vector<std::vector<std::string>>& rows,
                          const std::set<std::size_t>& left) {
  std::vector<std::size_t> widths;
  for (const std::string& column : columns) widths.push_back(column.size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  const auto add_line = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) line += "  ";
      line += left.contains(i) ? fmt::format("{:<{}}", cells[i], widths[i])
                               : fmt::format("{:>{}}", cells[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  };
  add_line(columns);
  for (const auto& row : rows) add_line(row);
  return text;
}

}  // namespace halfpipe::tools
