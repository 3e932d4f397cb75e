// SPDX-License-Identifier: Apache-2.0
// tuned_choices.json: which ways of computing things were measured to be the quickest. A run that
// goes on by the same choices has the same bits.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "kernels/device/tuner.h"

namespace halfpipe::checkpoint {

struct TunedRecord {
  std::string made_for;  // device::Tuner::made_for
  device::TunedChoices choices;

  friend bool operator==(const TunedRecord&, const TunedRecord&) = default;
};

[[nodiscard]] std::string to_json(const TunedRecord& record);
/// FileError that names the file and the rule.
[[nodiscard]] TunedRecord parse_tuned_record(const std::string& text, const std::string& file_name);

/// Writes the file into a checkpoint.
void write_tuned_record(const std::filesystem::path& directory, const TunedRecord& record);
/// Absent where the checkpoint has none.
[[nodiscard]] std::optional<TunedRecord> read_tuned_record(const std::filesystem::path& directory);

}  // namespace halfpipe::checkpoint
