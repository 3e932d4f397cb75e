// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/tuned_record.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/files/json_file.h"
#include "engine/files/mapped_file.h"
#include "engine/files/output_file.h"
#include "kernels/core/error.h"

namespace halfpipe::checkpoint {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kFileName = "tuned_choices.json";
constexpr int kVersion = 1;

[[noreturn]] void fail(const std::string& file_name, const std::string& rule) {
  throw FileError(fmt::format("{}: {}", file_name, rule));
}

device::TunedChoice read_choice(const json& value,
                                const std::string& kind,
                                const std::string& file_name) {
  const auto has = [&](const char* key, bool (json::*is_right)() const noexcept) {
    return value.contains(key) && (value[key].*is_right)();
  };
  if (!value.is_object() || !has("algorithm", &json::is_string) ||
      !has("seconds", &json::is_number) || !has("first_seconds", &json::is_number)) {
    fail(file_name,
         fmt::format("choices: '{}' ({}) must have an algorithm, seconds and first_seconds", kind,
                     value.dump()));
  }
  return {.algorithm = value["algorithm"].get<std::string>(),
          .seconds = value["seconds"].get<double>(),
          .first_seconds = value["first_seconds"].get<double>()};
}

}  // namespace

std::string to_json(const TunedRecord& record) {
  ordered_json choices = ordered_json::object();
  for (const auto& [kind, choice] : record.choices) {
    choices[kind] = {{"algorithm", choice.algorithm},
                     {"seconds", choice.seconds},
                     {"first_seconds", choice.first_seconds}};
  }
  ordered_json root;
  root["version"] = kVersion;
  root["made_for"] = record.made_for;
  root["choices"] = std::move(choices);
  return root.dump(1) + "\n";
}

TunedRecord parse_tuned_record(const std::string& text, const std::string& file_name) {
  const json root = files::parse_json(text, file_name);
  if (!root.is_object() || !root.contains("version") || root["version"] != kVersion) {
    fail(file_name, fmt::format("must be a JSON object of version {}", kVersion));
  }
  if (!root.contains("made_for") || !root["made_for"].is_string()) {
    fail(file_name, "made_for must be a string");
  }
  if (!root.contains("choices") || !root["choices"].is_object()) {
    fail(file_name, "choices must be a JSON object");
  }
  TunedRecord record{root["made_for"].get<std::string>(), {}};
  for (const auto& [kind, value] : root["choices"].items()) {
    record.choices[kind] = read_choice(value, kind, file_name);
  }
  return record;
}

void write_tuned_record(const std::filesystem::path& directory, const TunedRecord& record) {
  files::write_file(directory / kFileName, to_json(record));
}

std::optional<TunedRecord> read_tuned_record(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / kFileName;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return parse_tuned_record(files::read_text_file(path), path.string());
}

}  // namespace halfpipe::checkpoint
