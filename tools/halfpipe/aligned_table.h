// SPDX-License-Identifier: Apache-2.0
// A table for a terminal.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <vector>

namespace halfpipe::tools {

/// A line of column names and a line for each row, every column as wide as its longest cell, two
/// spaces between columns. Cells stand at the right, as numbers do; in the columns of `left`, by
/// index, at the left. Rows have a cell for each column; cells are ASCII.
[[nodiscard]] std::string aligned_table(const std::vector<std::string>& columns,
                                        const std::vector<std::vector<std::string>>& rows,
                                        const std::set<std::size_t>& left);

}  // namespace halfpipe::tools
