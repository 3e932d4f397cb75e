// SPDX-License-Identifier: Apache-2.0
#include "engine/config/key.h"

#include "engine/config/nearest_name.h"
#include "engine/config/scalar_text.h"
#include "kernels/core/error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace halfpipe::config {
namespace {

template <class T>
std::string rule_of(const WholeRange<T>& range) {
  if (range.high == std::numeric_limits<T>::max()) return fmt::format("at least {}", range.low);
  return fmt::format("from {} to {}", range.low, range.high);
}

std::string rule_of(const RealRange& range) {
  std::string rule = fmt::format("{} {}", range.low_included ? "at least" : "above", range.low);
  if (std::isinf(range.high)) return rule;
  return rule + fmt::format(" and {} {}", range.high_included ? "at most" : "below", range.high);
}

bool holds(const RealRange& range, double value) {
  if (!std::isfinite(value)) return false;
  const bool above = range.low_included ? value >= range.low : value > range.low;
  const bool below = range.high_included ? value <= range.high : value < range.high;
  return above && below;
}

std::string must_be(const std::string& path, const std::string& value, const std::string& rule) {
  return fmt::format("{} ({}) must be {}", path, value, rule);
}

std::string not_yet(const std::string& path,
                    const std::string& value,
                    const std::string& capability,
                    const std::string& instead) {
  return fmt::format("{} ({}): {} does not exist in this version; use {}", path, value, capability,
                     instead);
}

Key make_key(std::string path, std::string type, std::string rule, std::string text) {
  Key key;
  key.doc = {std::move(path), std::move(type), {}, std::move(rule), std::move(text)};
  key.violation = [](const RunConfig&) { return std::nullopt; };
  return key;
}

// Fills the default from RunConfig itself, so that the documentation cannot disagree with it.
Key finish(Key key) {
  key.doc.default_value = key.write(RunConfig{});
  return key;
}

std::optional<std::string> violation_if(bool broken, const KeyDoc& doc, const std::string& value) {
  if (!broken) return std::nullopt;
  return must_be(doc.path, value, doc.rule);
}

std::optional<std::string> broken_choice(const KeyDoc& doc,
                                         const std::string& value,
                                         const std::vector<std::string>& allowed,
                                         const std::vector<LaterValue>& later) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return std::nullopt;
  for (const LaterValue& known : later) {
    if (known.value != value) continue;
    const std::string others = fmt::format("{}", fmt::join(allowed, ", "));
    return not_yet(doc.path, value, known.capability, others);
  }
  const auto nearest = nearest_name(value, allowed);
  const bool suggests = nearest && allowed.size() > 1;
  return must_be(doc.path, value, doc.rule) +
         (suggests ? fmt::format("; did you mean {}?", *nearest) : "");
}

}  // namespace

template <class T>
Key whole_number(std::string path, const Field<T>& field, WholeRange<T> range, std::string text) {
  Key key = make_key(std::move(path), "whole number", rule_of(range), std::move(text));
  // Numbers that do not fit T are told both ends: "at least 0" would not say what is wrong.
  const std::string rule = fmt::format("from {} to {}", range.low, range.high);
  key.read = [path = key.doc.path, rule, field](RunConfig& config, const YamlValue& value) {
    field.set(config, to_whole_number<T>(value, path, rule));
  };
  key.write = [field](const RunConfig& config) { return fmt::to_string(field.get(config)); };
  key.violation = [doc = key.doc, field, range](const RunConfig& config) {
    const T value = field.get(config);
    return violation_if(value < range.low || value > range.high, doc, fmt::to_string(value));
  };
  return finish(std::move(key));
}

template Key whole_number<int>(std::string, const Field<int>&, WholeRange<int>, std::string);
template Key whole_number<std::int64_t>(std::string,
                                        const Field<std::int64_t>&,
                                        WholeRange<std::int64_t>,
                                        std::string);
template Key whole_number<std::uint64_t>(std::string,
                                         const Field<std::uint64_t>&,
                                         WholeRange<std::uint64_t>,
                                         std::string);

Key whole_number_or_auto(std::string path, const Field<int>& field, int high, std::string text) {
  const std::string rule = "auto, or " + rule_of(WholeRange<int>{1, high});
  Key key = make_key(std::move(path), "whole number or auto", rule, std::move(text));
  key.read = [doc = key.doc, field](RunConfig& config, const YamlValue& value) {
    if (value.kind == YamlValue::Kind::kScalar && value.text == "auto") {
      field.set(config, 0);
      return;
    }
    const int number = to_whole_number<int>(value, doc.path, doc.rule);
    if (number == 0) refuse(value, doc.path, doc.rule);
    field.set(config, number);
  };
  key.write = [field](const RunConfig& config) {
    const int value = field.get(config);
    return value == 0 ? std::string("auto") : fmt::to_string(value);
  };
  key.violation = [doc = key.doc, field, high](const RunConfig& config) {
    const int value = field.get(config);
    return violation_if(value < 0 || value > high, doc, fmt::to_string(value));
  };
  return finish(std::move(key));
}

Key real_number(std::string path, const Field<double>& field, RealRange range, std::string text) {
  Key key = make_key(std::move(path), "number", rule_of(range), std::move(text));
  key.read = [path = key.doc.path, field](RunConfig& config, const YamlValue& value) {
    field.set(config, to_real_number(value, path));
  };
  key.write = [field](const RunConfig& config) { return fmt::format("{}", field.get(config)); };
  key.violation = [doc = key.doc, field, range](const RunConfig& config) {
    const double value = field.get(config);
    return violation_if(!holds(range, value), doc, fmt::format("{}", value));
  };
  return finish(std::move(key));
}

Key flag(std::string path, const Field<bool>& field, std::string text) {
  Key key = make_key(std::move(path), "true or false", "", std::move(text));
  key.read = [path = key.doc.path, field](RunConfig& config, const YamlValue& value) {
    field.set(config, to_bool(value, path));
  };
  key.write = [field](const RunConfig& config) {
    return std::string(field.get(config) ? "true" : "false");
  };
  return finish(std::move(key));
}

Key text(std::string path, const Field<std::string>& field, std::string text) {
  Key key = make_key(std::move(path), "text", "not empty", std::move(text));
  key.read = [path = key.doc.path, field](RunConfig& config, const YamlValue& value) {
    field.set(config, to_text(value, path));
  };
  key.write = [field](const RunConfig& config) { return quote_if_needed(field.get(config)); };
  key.violation = [doc = key.doc, field](const RunConfig& config) {
    return violation_if(field.get(config).empty(), doc, "\"\"");
  };
  return finish(std::move(key));
}

Key text_or_null(std::string path, const Field<std::string>& field, std::string text) {
  Key key = make_key(std::move(path), "text or null", "", std::move(text));
  key.null_is_unset = true;
  key.read = [path = key.doc.path, field](RunConfig& config, const YamlValue& value) {
    field.set(config, value.kind == YamlValue::Kind::kNull ? "" : to_text(value, path));
  };
  key.write = [field](const RunConfig& config) {
    const std::string value = field.get(config);
    return value.empty() ? std::string("null") : quote_if_needed(value);
  };
  return finish(std::move(key));
}

namespace {

std::vector<std::string> to_texts(const YamlValue& list, const std::string& path) {
  if (list.held.empty()) refuse(list, path, "a list of at least one text");
  std::vector<std::string> texts;
  for (const YamlValue& item : list.held) texts.push_back(to_text(item, path));
  return texts;
}

std::string write_list(std::vector<std::string> texts) {
  for (std::string& item : texts) item = quote_if_needed(item);
  return fmt::format("[{}]", fmt::join(texts, ", "));
}

}  // namespace

Key text_list(std::string path, const Field<std::vector<std::string>>& field, std::string text) {
  Key key = make_key(std::move(path), "text, list of text or null", "", std::move(text));
  key.null_is_unset = true;
  key.read = [path = key.doc.path, field](RunConfig& config, const YamlValue& value) {
    std::vector<std::string> texts;
    if (value.kind == YamlValue::Kind::kList) {
      texts = to_texts(value, path);
    } else if (value.kind == YamlValue::Kind::kScalar) {
      texts.push_back(to_text(value, path));
    } else if (value.kind == YamlValue::Kind::kMap) {
      refuse(value, path, "text or a list of text");
    }
    field.set(config, std::move(texts));
  };
  key.write = [field](const RunConfig& config) {
    const std::vector<std::string> texts = field.get(config);
    return texts.empty() ? std::string("null") : write_list(texts);
  };
  return finish(std::move(key));
}

Key text_for_all_or_each(std::string path,
                         const Field<std::string>& for_all,
                         const Field<std::vector<std::string>>& for_each,
                         std::string text) {
  Key key = make_key(std::move(path), "text, list of text or null", "", std::move(text));
  key.null_is_unset = true;
  key.read = [path = key.doc.path, for_all, for_each](RunConfig& config, const YamlValue& value) {
    const bool is_list = value.kind == YamlValue::Kind::kList;
    if (value.kind == YamlValue::Kind::kMap) refuse(value, path, "text or a list of text");
    const bool is_text = value.kind == YamlValue::Kind::kScalar;
    for_each.set(config, is_list ? to_texts(value, path) : std::vector<std::string>{});
    for_all.set(config, is_text ? to_text(value, path) : std::string());
  };
  key.write = [for_all, for_each](const RunConfig& config) {
    const std::vector<std::string> texts = for_each.get(config);
    if (!texts.empty()) return write_list(texts);
    const std::string all = for_all.get(config);
    return all.empty() ? std::string("null") : quote_if_needed(all);
  };
  return finish(std::move(key));
}

Key whole_numbers_or_auto(std::string path,
                          const Field<std::optional<std::vector<int>>>& field,
                          std::string text) {
  Key key = make_key(std::move(path), "list of whole numbers or auto",
                     "auto, or a list of numbers of at least 0", std::move(text));
  key.read = [doc = key.doc, field](RunConfig& config, const YamlValue& value) {
    if (value.kind == YamlValue::Kind::kScalar && value.text == "auto") {
      field.set(config, std::nullopt);
      return;
    }
    if (value.kind != YamlValue::Kind::kList) refuse(value, doc.path, doc.rule);
    const std::string rule = fmt::format("from 0 to {}", std::numeric_limits<int>::max());
    std::vector<int> numbers;
    for (const YamlValue& item : value.held) {
      numbers.push_back(to_whole_number<int>(item, doc.path, rule));
    }
    field.set(config, std::move(numbers));
  };
  key.write = [field](const RunConfig& config) {
    const std::optional<std::vector<int>> numbers = field.get(config);
    return numbers ? fmt::format("[{}]", fmt::join(*numbers, ", ")) : std::string("auto");
  };
  key.violation = [doc = key.doc, field, write = key.write](const RunConfig& config) {
    const std::vector<int> numbers = field.get(config).value_or(std::vector<int>{});
    const bool negative = std::any_of(numbers.begin(), numbers.end(), [](int n) { return n < 0; });
    return violation_if(negative, doc, write(config));
  };
  return finish(std::move(key));
}

Key choice(std::string path,
           const Field<std::string>& field,
           std::vector<std::string> allowed,
           std::vector<LaterValue> later,
           std::string text) {
  const std::string rule = allowed.size() == 1 ? allowed[0] + ", the only one that exists so far"
                                               : fmt::format("one of {}", fmt::join(allowed, ", "));
  Key key = make_key(std::move(path), "name", rule, std::move(text));
  const auto broken = [doc = key.doc, allowed = std::move(allowed),
                       later = std::move(later)](const std::string& value) {
    return broken_choice(doc, value, allowed, later);
  };
  // Checked on reading too, since a field that is an enum cannot hold an unknown name.
  key.read = [path = key.doc.path, field, broken](RunConfig& config, const YamlValue& value) {
    const std::string name = to_text(value, path);
    if (const auto sentence = broken(name)) {
      throw ConfigError(fmt::format("{}: {}", value.place, *sentence));
    }
    field.set(config, name);
  };
  key.write = [field](const RunConfig& config) { return quote_if_needed(field.get(config)); };
  key.violation = [field, broken](const RunConfig& config) { return broken(field.get(config)); };
  return finish(std::move(key));
}

Key choice_for_all_or_each(std::string path,
                           const Field<std::vector<std::string>>& field,
                           std::vector<std::string> allowed,
                           std::string text) {
  const std::string rule = fmt::format("one of {}", fmt::join(allowed, ", "));
  Key key = make_key(std::move(path), "name or list of names", rule, std::move(text));
  key.read = [doc = key.doc, field, allowed](RunConfig& config, const YamlValue& value) {
    std::vector<std::string> names;
    if (value.kind == YamlValue::Kind::kList) {
      names = to_texts(value, doc.path);
    } else {
      names.push_back(to_text(value, doc.path));
    }
    for (const std::string& name : names) {
      if (const auto sentence = broken_choice(doc, name, allowed, {})) {
        throw ConfigError(fmt::format("{}: {}", value.place, *sentence));
      }
    }
    field.set(config, std::move(names));
  };
  key.write = [field](const RunConfig& config) {
    const std::vector<std::string> names = field.get(config);
    return names.size() == 1 ? names.front() : write_list(names);
  };
  return finish(std::move(key));
}

Key single_value(std::string path,
                 std::string type,
                 std::string value,
                 std::string capability,
                 std::string text) {
  const std::string rule = value + ", the only one that exists so far";
  Key key = make_key(std::move(path), std::move(type), rule, std::move(text));
  key.null_is_unset = value == "null";
  key.read = [path = key.doc.path, only = value, capability = std::move(capability)](
                 RunConfig&, const YamlValue& given) {
    if (describe(given) == only) return;
    throw ConfigError(
        fmt::format("{}: {}", given.place, not_yet(path, describe(given), capability, only)));
  };
  key.write = [value = std::move(value)](const RunConfig&) { return value; };
  return finish(std::move(key));
}

Key only_default_yet(Key key, std::string capability) {
  key.doc.rule = key.doc.default_value + ", the only one that exists so far";
  key.violation =
      [doc = key.doc, write = key.write, in_range = key.violation,
       capability = std::move(capability)](const RunConfig& config) -> std::optional<std::string> {
    if (auto sentence = in_range(config)) return sentence;
    const std::string value = write(config);
    if (value == doc.default_value) return std::nullopt;
    return not_yet(doc.path, value, capability, doc.default_value);
  };
  return key;
}

}  // namespace halfpipe::config
