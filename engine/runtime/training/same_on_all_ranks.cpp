// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/same_on_all_ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "engine/checkpoint/digest.h"
#include "engine/config/key_table.h"
#include "engine/runtime/ranks/agreement.h"

namespace halfpipe::runtime {

namespace {

constexpr std::string_view kPerRankKey = "device.threads_per_rank";

using Values = std::vector<std::pair<std::string_view, std::string_view>>;

std::string encode(std::span<const NamedValue> values) {
  std::string text;
  for (const NamedValue& entry : values) {
    text.append(entry.name).push_back('\0');
    text.append(entry.value).push_back('\0');
  }
  return text;
}

Values decode(std::string_view text) {
  Values values;
  const auto take = [&] {
    const std::size_t end = text.find('\0');
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(end + 1);
    return part;
  };
  while (!text.empty()) {
    const std::string_view name = take();
    values.emplace_back(name, take());
  }
  return values;
}

/// "rank 3" or "ranks 0, 2-5".
std::string in_words(const std::vector<std::size_t>& ranks) {
  std::string text;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    std::size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    if (!text.empty()) text += ", ";
    text += fmt::format("{}", ranks[i]);
    if (last > i) text += fmt::format("-{}", ranks[last]);
    i = last;
  }
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", text);
}

std::string value_at(const Values& values, std::size_t i, std::string_view name) {
  // Other names: other versions of Halfpipe in one job.
  if (i >= values.size() || values[i].first != name) return "unknown";
  return std::string(values[i].second);
}

[[noreturn]] void refuse(std::string_view name, const std::vector<std::string>& by_rank) {
  constexpr std::size_t kMostValues = 3;  // the message stays one that can be read
  std::vector<std::pair<std::string, std::vector<std::size_t>>> groups;
  for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
    const auto group =
        std::ranges::find_if(groups, [&](const auto& g) { return g.first == by_rank[rank]; });
    if (group != groups.end()) {
      group->second.push_back(rank);
    } else {
      groups.push_back({by_rank[rank], {rank}});
    }
  }
  std::string text;
  for (std::size_t i = 0; i < std::min(groups.size(), kMostValues); ++i) {
    text +=
        fmt::format("{}{} on {}", i == 0 ? "" : ", ", groups[i].first, in_words(groups[i].second));
  }
  if (groups.size() > kMostValues) text += ", ...";
  constexpr int kUserError = 2;
  throw AgreedError(fmt::format("{} must be the same on every rank and is {}", name, text),
                    kUserError);
}

std::string split_in_words(std::int64_t num_tokens, const std::string& digest) {
  constexpr std::size_t kDigits = 8;  // enough to tell apart; the counts alone seldom do
  if (num_tokens == 0) return "0 tokens";
  return fmt::format("{} tokens (digest {})", num_tokens, digest.substr(0, kDigits));
}

}  // namespace

void require_same_on_all_ranks(std::span<const NamedValue> mine, transport::Transport& transport) {
  const std::string record = encode(mine);
  const auto records = transport.all_gather(std::as_bytes(std::span(record)));
  std::vector<Values> all;
  std::size_t longest = 0;
  for (const std::vector<std::byte>& bytes : records) {
    all.push_back(decode({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
    longest = std::max(longest, all.back().size());
  }
  for (std::size_t i = 0; i < longest; ++i) {
    const auto first = std::ranges::find_if(all, [&](const Values& v) { return i < v.size(); });
    const std::string_view name = (*first)[i].first;
    std::vector<std::string> by_rank;
    for (const Values& values : all) by_rank.push_back(value_at(values, i, name));
    const bool same = std::ranges::all_of(
        by_rank, [&](const std::string& value) { return value == by_rank.front(); });
    if (!same) refuse(name, by_rank);
  }
}

std::vector<NamedValue> keys_of_a_job(const config::RunConfig& config) {
  std::vector<NamedValue> values;
  for (const config::Key& key : config::key_table()) {
    if (key.doc.path != kPerRankKey) values.push_back({key.doc.path, key.write(config)});
  }
  if (config.device.profile) {
    values.push_back({"what device.hardware says", config::to_text(*config.device.profile)});
  }
  return values;
}

std::vector<NamedValue> device_of_a_job(const config::RunConfig& config) {
  const config::DeviceConfig& device = config.device;
  const std::string& reason = device.attention_reason;
  return {{"device.attention",
           reason.empty() ? device.attention : fmt::format("{}: {}", device.attention, reason)}};
}

std::vector<NamedValue> data_of_a_job(const TrainingInputs& inputs) {
  const config::RunConfig& config = inputs.config;
  const checkpoint::DataRecord& record = inputs.data_record;
  const data::Vocabulary& tokens = inputs.dataset->vocabulary;
  const bool text = !config.data.text.empty();
  const std::string vocabulary = tokens.to_json().dump();
  const std::string train = text ? "data.text" : "data.shards.train";
  const std::string validation = text ? "data.text" : "data.shards.validation";
  return {
      {"data.vocabulary: the vocabulary",
       split_in_words(tokens.size(), checkpoint::digest_of(vocabulary))},
      {"model.vocab_size", fmt::format("{}", config.model.vocab_size)},
      {train + ": the training split", split_in_words(record.train_tokens, record.train_digest)},
      {validation + ": the validation split",
       split_in_words(record.validation_tokens, record.validation_digest)}};
}

}  // namespace halfpipe::runtime
