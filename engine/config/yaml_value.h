// SPDX-License-Identifier: Apache-2.0
// A YAML document as a tree of plain values, each with the place it came from, so that every later
// message can say where the mistake stands. Nothing here knows the YAML library.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace halfpipe::config {

struct YamlValue {
  enum class Kind : std::uint8_t { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string name;             // the key, when a map holds this value
  std::string place;            // "run.yaml:12" or "--set train.steps=3": the start of a message
  std::string text;             // kScalar: as written, quotes removed
  bool quoted = false;          // kScalar: "null" and "5" in quotes are text
  std::vector<YamlValue> held;  // kList: the items; kMap: the entries, in the order written
};

}  // namespace halfpipe::config
