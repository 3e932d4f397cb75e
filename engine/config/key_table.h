// SPDX-License-Identifier: Apache-2.0
// Every key of the configuration, in the order of the documentation. The reader, the writer, the
// checks, the search for the nearest name and docs/configuration.md share this table.
#pragma once

#include "engine/config/key.h"

#include <string>
#include <string_view>
#include <vector>

namespace halfpipe::config {

[[nodiscard]] const std::vector<Key>& key_table();

/// What the documentation says of each, in the same order.
[[nodiscard]] std::vector<KeyDoc> key_docs();

/// The names of the sections at the top of a file.
[[nodiscard]] std::vector<std::string> section_names();

/// The key of that path, or null.
[[nodiscard]] const Key* find_key_or_null(std::string_view path);

/// Whether keys stand below `path`: "train", "data.shards".
[[nodiscard]] bool is_section(std::string_view path);

}  // namespace halfpipe::config
