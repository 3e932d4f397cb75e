// SPDX-License-Identifier: Apache-2.0
#include "tools/costs/stage_costs_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "engine/files/json_file.h"
#include "engine/files/mapped_file.h"
#include "kernels/core/error.h"

namespace halfpipe::costs {

namespace {

using nlohmann::json;

constexpr double kMostSeconds = 1e12;
constexpr double kMostBytes = 1e15;  // below 2^53 a double holds every whole number
constexpr double kMostBytesPerSecond = 1e18;
constexpr double kMostRanks = 1 << 20;

/// One object of the file, and where it is: "stages[2]".
class Object {
 public:
  Object(const std::string& file, std::string place, const json& value)
      : file_(file), place_(std::move(place)), value_(value) {
    if (!value.is_object()) fail("", "must be an object, {\"key\": value, ...}");
  }

  /// Refuses keys of other names: a misspelt one would count as absent.
  void allow(std::initializer_list<std::string_view> keys) const {
    for (const auto& [key, unused] : value_.items()) {
      std::string known;
      bool found = false;
      for (const std::string_view allowed : keys) {
        found = found || key == allowed;
        known += (known.empty() ? "" : ", ") + std::string(allowed);
      }
      if (!found) fail(key, "is not a key here; known are " + known);
    }
  }

  [[nodiscard]] bool has(const std::string& key) const { return value_.contains(key); }

  [[nodiscard]] const json& at(const std::string& key) const {
    if (!has(key)) fail(key, "is missing");
    return value_.at(key);
  }

  [[nodiscard]] const json& list(const std::string& key) const {
    if (!at(key).is_array()) fail(key, "must be a list, [...]");
    return at(key);
  }

  /// A number from `least` (or above it, where that is not allowed itself) to below `most`.
  [[nodiscard]] double number(const std::string& key,
                              double least,
                              bool least_allowed,
                              double most) const {
    const json& value = at(key);
    const double number = value.is_number() ? value.get<double>() : NAN;
    if ((least_allowed ? number >= least : number > least) && number < most) return number;
    fail(key, fmt::format("{} must be a number {} {:g} and below {:g}", shown(value),
                          least_allowed ? "of at least" : "above", least, most));
  }

  [[nodiscard]] std::int64_t whole(const std::string& key, double most) const {
    const json& value = at(key);
    // 1e6 is a whole number, too.
    const double number = value.is_number() ? value.get<double>() : NAN;
    if (number >= 0.0 && number < most && number == std::floor(number)) {
      return static_cast<std::int64_t>(number);
    }
    fail(key, fmt::format("{} must be a whole number from 0 to below {:g}", shown(value), most));
  }

  [[nodiscard]] bool boolean(const std::string& key) const {
    if (!at(key).is_boolean()) fail(key, shown(at(key)) + " must be true or false");
    return at(key).get<bool>();
  }

  [[noreturn]] void fail(const std::string& key, const std::string& rule) const {
    std::string where = place_;
    if (!key.empty()) where += (where.empty() ? "" : ".") + key;
    throw FileError(file_ + ": " + (where.empty() ? "the file" : where) + " " + rule);
  }

 private:
  /// "(-1)", and not a whole list.
  static std::string shown(const json& value) {
    return fmt::format("({})", value.is_structured() ? "a list or object" : value.dump());
  }

  const std::string& file_;
  std::string place_;
  const json& value_;
};

/// 0 where the key is absent.
std::int64_t bytes(const Object& object, const std::string& key) {
  return object.has(key) ? object.whole(key, kMostBytes) : 0;
}

schedule::StageCost read_stage(const Object& object) {
  object.allow({"forward_seconds", "backward_input_seconds", "backward_weight_seconds",
                "forward_to_backward_input_bytes", "forward_to_backward_weight_bytes",
                "backward_input_to_backward_weight_bytes"});
  schedule::StageCost cost;
  cost.forward_seconds = object.number("forward_seconds", 0.0, false, kMostSeconds);
  cost.backward_input_seconds = object.number("backward_input_seconds", 0.0, false, kMostSeconds);
  cost.backward_weight_seconds = object.number("backward_weight_seconds", 0.0, false, kMostSeconds);
  cost.forward_to_backward_input_bytes = bytes(object, "forward_to_backward_input_bytes");
  cost.forward_to_backward_weight_bytes = bytes(object, "forward_to_backward_weight_bytes");
  cost.backward_input_to_backward_weight_bytes =
      bytes(object, "backward_input_to_backward_weight_bytes");
  return cost;
}

bool keeps_bytes(const schedule::StageCost& cost) {
  return cost.forward_to_backward_input_bytes > 0 || cost.forward_to_backward_weight_bytes > 0 ||
         cost.backward_input_to_backward_weight_bytes > 0;
}

/// Keys that are absent keep what `otherwise` has.
schedule::LinkCost read_link(const Object& object, schedule::LinkCost otherwise) {
  if (object.has("latency_seconds")) {
    otherwise.latency_seconds = object.number("latency_seconds", 0.0, true, kMostSeconds);
  }
  if (object.has("bytes_per_second")) {
    otherwise.bytes_per_second = object.number("bytes_per_second", 0.0, false, kMostBytesPerSecond);
  }
  return otherwise;
}

/// Of a link that `object` tells of.
void check_message_seconds(const Object& object,
                           const StageCostsFile& file,
                           const schedule::LinkCost& link) {
  const double seconds = message_seconds(file, link);
  if (seconds < kMostSeconds) return;
  object.fail("bytes_per_second",
              fmt::format("({:g}) must let a message of message.bytes ({}) with latency_seconds "
                          "({:g}) take less than {:g} seconds, not {:g}",
                          link.bytes_per_second, file.message_bytes, link.latency_seconds,
                          kMostSeconds, seconds));
}

void read_message(const Object& object, StageCostsFile& file) {
  object.allow({"bytes", "latency_seconds", "bytes_per_second", "one_at_a_time"});
  file.message_bytes = bytes(object, "bytes");
  file.link = read_link(object, {});
  check_message_seconds(object, file, file.link);
  if (object.has("one_at_a_time")) file.one_message_at_a_time = object.boolean("one_at_a_time");
}

void read_override(const Object& object, StageCostsFile& file) {
  object.allow({"from_rank", "to_rank", "both_ways", "latency_seconds", "bytes_per_second"});
  const auto from = static_cast<int>(object.whole("from_rank", kMostRanks));
  const auto to = static_cast<int>(object.whole("to_rank", kMostRanks));
  if (from == to) object.fail("to_rank", "must be another rank than from_rank");
  const schedule::LinkCost cost = read_link(object, file.link);
  check_message_seconds(object, file, cost);
  file.overrides.push_back({from, to, cost});
  if (object.has("both_ways") && object.boolean("both_ways")) {
    file.overrides.push_back({to, from, cost});
  }
}

schedule::StageCost sum(const schedule::StageCost& a, const schedule::StageCost& b) {
  return {a.forward_seconds + b.forward_seconds,
          a.backward_input_seconds + b.backward_input_seconds,
          a.backward_weight_seconds + b.backward_weight_seconds,
          a.forward_to_backward_input_bytes + b.forward_to_backward_input_bytes,
          a.forward_to_backward_weight_bytes + b.forward_to_backward_weight_bytes,
          a.backward_input_to_backward_weight_bytes + b.backward_input_to_backward_weight_bytes};
}

std::vector<schedule::StageCost> stages_for(const StageCostsFile& file,
                                            const schedule::Placement& placement) {
  const auto num_stages = static_cast<std::size_t>(placement.num_stages());
  if (file.stages.size() % num_stages != 0) {
    throw FileError(file.path.string() + ": stages has " + std::to_string(file.stages.size()) +
                    " entries, which must be a multiple of the schedule's " +
                    std::to_string(num_stages) + " stages (" +
                    std::to_string(placement.num_pipeline_ranks()) + " ranks with " +
                    std::to_string(placement.num_chunks()) + " each)");
  }
  const std::size_t run = file.stages.size() / num_stages;
  std::vector<schedule::StageCost> stages;
  for (std::size_t i = 0; i < file.stages.size(); ++i) {
    if (i % run == 0) {
      stages.push_back(file.stages[i]);
    } else {
      stages.back() = sum(stages.back(), file.stages[i]);
    }
  }
  return stages;
}

std::vector<std::vector<schedule::LinkCost>> links_for(const StageCostsFile& file, int num_ranks) {
  const auto ranks = static_cast<std::size_t>(num_ranks);
  std::vector<std::vector<schedule::LinkCost>> links(
      ranks, std::vector<schedule::LinkCost>(ranks, file.link));
  for (const LinkOverride& link : file.overrides) {
    const int rank = std::max(link.from_rank, link.to_rank);
    if (rank >= num_ranks) {
      throw FileError(file.path.string() + ": links has rank " + std::to_string(rank) +
                      ", which must be below the number of ranks, " + std::to_string(num_ranks));
    }
    links[static_cast<std::size_t>(link.from_rank)][static_cast<std::size_t>(link.to_rank)] =
        link.cost;
  }
  return links;
}

}  // namespace

StageCostsFile read_stage_costs(const std::filesystem::path& path) {
  const std::string name = path.string();
  const json root = files::parse_json(files::read_text_file(path), name);
  const Object object(name, "", root);
  object.allow({"stages", "message", "links"});
  StageCostsFile file{path, {}};
  const json& stages = object.list("stages");
  if (stages.empty()) object.fail("stages", "must have at least one stage");
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const Object stage(name, "stages[" + std::to_string(i) + "]", stages[i]);
    file.stages.push_back(read_stage(stage));
  }
  check_bytes(file, 1, "micro-batches");
  file.has_bytes = std::any_of(file.stages.begin(), file.stages.end(), keeps_bytes);
  if (!file.has_bytes) {
    // Then bytes count stages in flight, as in uniform_costs.
    for (schedule::StageCost& stage : file.stages) stage.forward_to_backward_weight_bytes = 1;
  }
  if (object.has("message")) read_message({name, "message", object.at("message")}, file);
  if (!object.has("links")) return file;
  const json& links = object.list("links");
  for (std::size_t i = 0; i < links.size(); ++i) {
    read_override({name, "links[" + std::to_string(i) + "]", links[i]}, file);
  }
  return file;
}

void check_bytes(const StageCostsFile& file, int num_micro_batches, const std::string& count_name) {
  constexpr double kMostSum = 4611686018427387904.0;  // 2^62
  std::int64_t most = 0;
  std::string most_key;
  double sum = 0.0;
  for (std::size_t i = 0; i < file.stages.size(); ++i) {
    const schedule::StageCost& stage = file.stages[i];
    for (const auto& [key, kept] :
         {std::pair{"forward_to_backward_input_bytes", stage.forward_to_backward_input_bytes},
          std::pair{"forward_to_backward_weight_bytes", stage.forward_to_backward_weight_bytes},
          std::pair{"backward_input_to_backward_weight_bytes",
                    stage.backward_input_to_backward_weight_bytes}}) {
      sum += static_cast<double>(kept);
      if (kept <= most) continue;
      most = kept;
      most_key = fmt::format("stages[{}].{}", i, key);
    }
  }
  if (sum * num_micro_batches < kMostSum) return;
  throw FileError(
      fmt::format("{}: {} ({}): the bytes of all stages, {:g}, times {} ({}) must be below 2^62",
                  file.path.string(), most_key, most, sum, count_name, num_micro_batches));
}

double message_seconds(const StageCostsFile& file, const schedule::LinkCost& link) {
  return link.latency_seconds + static_cast<double>(file.message_bytes) / link.bytes_per_second;
}

schedule::CostModel costs_for(const StageCostsFile& file, const schedule::Placement& placement) {
  schedule::CostModel costs;
  costs.stages = stages_for(file, placement);
  costs.message_bytes = file.message_bytes;
  costs.message_seconds = message_seconds(file, file.link);
  // One figure says it all.
  if (file.overrides.empty() && !file.one_message_at_a_time) return costs;
  costs.one_message_at_a_time = file.one_message_at_a_time;
  costs.links = links_for(file, placement.num_pipeline_ranks());
  for (const LinkOverride& link : file.overrides) {
    costs.message_seconds = std::min(costs.message_seconds,
                                     costs.message_seconds_between(link.from_rank, link.to_rank));
  }
  return costs;
}

}  // namespace halfpipe::costs
