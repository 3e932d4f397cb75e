// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/trainer_state.h"

#include "engine/files/json_file.h"
#include "engine/files/mapped_file.h"
#include "engine/files/output_file.h"
#include "kernels/core/error.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <utility>

namespace halfpipe::checkpoint {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kFileName = "trainer.json";
constexpr int kVersion = 1;

/// The value under `key` once it is known to be of the right kind.
const json& member(const json& root,
                   const char* key,
                   bool (*is_right)(const json&),
                   const char* rule,
                   const std::string& file_name) {
  if (!root.contains(key)) throw FileError(fmt::format("{}: key '{}' is missing", file_name, key));
  const json& value = root[key];
  if (!is_right(value)) {
    throw FileError(fmt::format("{}: {} ({}) must be {}", file_name, key, value.dump(), rule));
  }
  return value;
}

bool is_unsigned(const json& value) {
  return value.is_number_unsigned();
}
bool is_count(const json& value) {
  return value.is_number_unsigned() &&
         value.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX);
}
bool is_text(const json& value) {
  return value.is_string();
}

json parse_object(const std::string& text, const std::string& file_name) {
  json root = files::parse_json(text, file_name);
  if (root.is_object()) return root;
  throw FileError(file_name + ": must hold a JSON object");
}

/// A JSON object whose members are asked for by key and kind.
class Members {
 public:
  Members(const json& root, std::string file_name)
      : root_(root), file_name_(std::move(file_name)) {}

  [[nodiscard]] std::int64_t count(const char* key) const {
    return member(root_, key, is_count, "a whole number of at most 63 bits", file_name_)
        .get<std::int64_t>();
  }
  [[nodiscard]] std::uint64_t unsigned_number(const char* key) const {
    return member(root_, key, is_unsigned, "a whole number of at most 64 bits", file_name_)
        .get<std::uint64_t>();
  }
  [[nodiscard]] std::string text(const char* key) const {
    return member(root_, key, is_text, "a string", file_name_).get<std::string>();
  }

 private:
  const json& root_;
  std::string file_name_;
};

DataRecord read_data_record(const json& object, const std::string& file_name) {
  if (!object.is_object()) {
    throw FileError(fmt::format("{}: data ({}) must be a JSON object", file_name, object.dump()));
  }
  const Members members(object, file_name + ": data");
  return {.train_tokens = members.count("train_tokens"),
          .validation_tokens = members.count("validation_tokens"),
          .train_digest = members.text("train_digest"),
          .validation_digest = members.text("validation_digest")};
}

}  // namespace

void write_trainer_state(const std::filesystem::path& directory, const TrainerState& state) {
  ordered_json root;
  root["version"] = kVersion;
  root["step"] = state.step;
  root["tokens_seen"] = state.tokens_seen;
  root["sequences_consumed"] = state.sequences_consumed;
  root["seed"] = state.seed;
  root["parameter_hash"] = state.parameter_hash;
  root["config"] = state.config;
  if (state.data) {
    root["data"] = {{"train_tokens", state.data->train_tokens},
                    {"train_digest", state.data->train_digest},
                    {"validation_tokens", state.data->validation_tokens},
                    {"validation_digest", state.data->validation_digest}};
  }
  // A configuration may hold a file name that is not UTF-8, which JSON cannot: better altered there
  // than no checkpoint.
  files::write_file(directory / kFileName,
                    root.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

TrainerState read_trainer_state(const std::filesystem::path& directory) {
  const std::string name = (directory / kFileName).string();
  const json root = parse_object(files::read_text_file(directory / kFileName), name);
  const Members members(root, name);
  if (const std::int64_t version = members.count("version"); version != kVersion) {
    throw FileError(fmt::format("{}: version ({}) must be {}", name, version, kVersion));
  }
  TrainerState state;
  state.step = members.count("step");
  state.tokens_seen = members.count("tokens_seen");
  state.sequences_consumed = members.count("sequences_consumed");
  state.seed = members.unsigned_number("seed");
  state.parameter_hash = members.text("parameter_hash");
  state.config = members.text("config");
  if (root.contains("data")) state.data = read_data_record(root["data"], name);
  return state;
}

}  // namespace halfpipe::checkpoint
