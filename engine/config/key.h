// SPDX-License-Identifier: Apache-2.0
// One key of the configuration: how it is documented, read, written and checked. The kinds of keys
// are made here; key_table.cpp lists them all.
#pragma once

#include "engine/config/run_config.h"
#include "engine/config/yaml_value.h"

#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace halfpipe::config {

/// What docs/configuration.md says of a key.
struct KeyDoc {
  std::string path;           // "train.steps"
  std::string type;           // "whole number"
  std::string default_value;  // as YAML text
  std::string rule;           // "at least 1"; empty: any value of the type
  std::string text;           // one line: meaning and unit
};

struct Key {
  KeyDoc doc;
  /// Throws ConfigError, naming place, path and value, when the value is not of the key's type.
  std::function<void(RunConfig&, const YamlValue&)> read;
  /// The value as YAML text that `read` takes back.
  std::function<std::string(const RunConfig&)> write;
  /// A sentence on the rule that the value breaks, if it does.
  std::function<std::optional<std::string>(const RunConfig&)> violation;
  /// Whether the key has a meaning beside the other values; empty: always.
  std::function<bool(const RunConfig&)> applies;
  std::string applies_when;             // "schedule.name interleaved"
  std::vector<std::string> decided_by;  // the keys whose values decide it: "schedule.name"
  bool null_is_unset = false;           // null is a value: the key's own way of saying "nothing"
};

/// A member of one of RunConfig's sections, or anything that can be read and set like one.
template <class T>
struct Field {
  std::function<T(const RunConfig&)> get;
  std::function<void(RunConfig&, T)> set;
};

template <class Section, class T>
[[nodiscard]] Field<T> field(Section RunConfig::*section, T Section::*member) {
  return {[=](const RunConfig& c) { return c.*section.*member; },
          [=](RunConfig& c, T value) { c.*section.*member = std::move(value); }};
}

/// Both ends included.
template <class T>
struct WholeRange {
  T low;
  T high = std::numeric_limits<T>::max();
};

struct RealRange {
  double low;
  bool low_included;
  double high = std::numeric_limits<double>::infinity();
  bool high_included = false;
};

/// A value that is known and refused, with what it waits for.
struct LaterValue {
  std::string value;
  std::string capability;  // "the CUDA backend"
};

/// Defined for int, std::int64_t and std::uint64_t.
template <class T>
[[nodiscard]] Key whole_number(std::string path,
                               const Field<T>& field,
                               WholeRange<T> range,
                               std::string text);
/// `auto`, which is 0 in RunConfig, or a whole number of at least 1.
[[nodiscard]] Key whole_number_or_auto(std::string path,
                                       const Field<int>& field,
                                       int high,
                                       std::string text);
[[nodiscard]] Key real_number(std::string path,
                              const Field<double>& field,
                              RealRange range,
                              std::string text);
[[nodiscard]] Key flag(std::string path, const Field<bool>& field, std::string text);
[[nodiscard]] Key text(std::string path, const Field<std::string>& field, std::string text);
/// Text or null; null is an empty string in RunConfig.
[[nodiscard]] Key text_or_null(std::string path, const Field<std::string>& field, std::string text);
/// One text or a list of them; null is an empty list in RunConfig.
[[nodiscard]] Key text_list(std::string path,
                            const Field<std::vector<std::string>>& field,
                            std::string text);
/// One text for all, or a list with one for each; either leaves the other empty, and null both.
[[nodiscard]] Key text_for_all_or_each(std::string path,
                                       const Field<std::string>& for_all,
                                       const Field<std::vector<std::string>>& for_each,
                                       std::string text);
/// `auto`, which is absent in RunConfig, or a list of whole numbers of at least 0.
[[nodiscard]] Key whole_numbers_or_auto(std::string path,
                                        const Field<std::optional<std::vector<int>>>& field,
                                        std::string text);
[[nodiscard]] Key choice(std::string path,
                         const Field<std::string>& field,
                         std::vector<std::string> allowed,
                         std::vector<LaterValue> later,
                         std::string text);
/// One of the names for all, or a list of them, one for each; RunConfig holds a list of one for
/// all.
[[nodiscard]] Key choice_for_all_or_each(std::string path,
                                         const Field<std::vector<std::string>>& field,
                                         std::vector<std::string> allowed,
                                         std::string text);
/// A key that RunConfig does not hold, since only one value exists so far; `capability` is what any
/// other value would need.
[[nodiscard]] Key single_value(std::string path,
                               std::string type,
                               std::string value,
                               std::string capability,
                               std::string text);
/// Narrows a key to its default, since any other value needs a capability that does not exist yet.
[[nodiscard]] Key only_default_yet(Key key, std::string capability);

}  // namespace halfpipe::config
