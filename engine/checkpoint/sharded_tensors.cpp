// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/sharded_tensors.h"

#include "engine/checkpoint/hugging_face.h"
#include "engine/files/mapped_file.h"
#include "kernels/core/error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

namespace halfpipe::checkpoint {
namespace {

namespace fs = std::filesystem;

/// The N of `<stem>-<k>-of-<N>.safetensors`, if `name` has that form.
std::optional<int> num_shards_of(std::string_view name, std::string_view stem) {
  constexpr std::string_view kSuffix = ".safetensors";
  constexpr std::string_view kOf = "-of-";
  constexpr int kMaxShards = 99'999;  // what five digits hold
  if (!name.starts_with(stem) || !name.ends_with(kSuffix)) return std::nullopt;
  name.remove_suffix(kSuffix.size());
  const std::size_t of = name.rfind(kOf);
  if (of == std::string_view::npos) return std::nullopt;
  const std::string_view digits = name.substr(of + kOf.size());
  int count = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  const bool whole = error == std::errc() && end == digits.data() + digits.size() && count > 0 &&
                     count <= kMaxShards;
  return whole ? std::optional(count) : std::nullopt;
}

/// All shards of a set without an index, the missing ones too: opening them says what is wrong.
std::vector<std::string> numbered_shards(const fs::path& directory, std::string_view stem) {
  std::set<int> counts;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(directory, error)) {
    if (const auto count = num_shards_of(item.path().filename().string(), stem))
      counts.insert(*count);
  }
  if (counts.size() > 1) {
    throw FileError(fmt::format("{}: {}-*.safetensors are shards of different sets: of {}",
                                directory.string(), stem, fmt::join(counts, ", of ")));
  }
  std::vector<std::string> names;
  if (counts.empty()) return names;
  for (int shard = 0; shard < *counts.begin(); ++shard) {
    names.push_back(shard_file_name(stem, shard, *counts.begin()));
  }
  return names;
}

/// The files of a set, and which of their tensors belong to it.
struct Listing {
  std::vector<std::string> files;
  WeightMap weight_map;  // empty without an index: then every tensor counts

  [[nodiscard]] bool counts(const std::string& tensor, const std::string& file) const {
    if (weight_map.empty()) return true;
    const auto mapped = weight_map.find(tensor);
    return mapped != weight_map.end() && mapped->second == file;
  }
};

Listing list_files(const fs::path& directory, std::string_view stem, const fs::path& index) {
  const std::string single = shard_file_name(stem, 0, 1);
  if (fs::exists(directory / single)) return {{single}, {}};
  if (!fs::exists(index)) return {numbered_shards(directory, stem), {}};
  Listing listing{{}, parse_index(files::read_text_file(index), index.string())};
  std::set<std::string> distinct;
  for (const auto& [tensor, file] : listing.weight_map) distinct.insert(file);
  listing.files.assign(distinct.begin(), distinct.end());
  return listing;
}

[[noreturn]] void fail_nothing_found(const fs::path& directory, std::string_view stem) {
  if (!fs::is_directory(directory)) throw FileError(directory.string() + ": no such directory");
  const bool pickled = fs::exists(directory / "pytorch_model.bin");
  throw FileError(fmt::format(
      "{0}: holds no {1}.safetensors, {1}.safetensors.index.json or {1}-*-of-*.safetensors{2}",
      directory.string(), stem,
      pickled ? "; pytorch_model.bin cannot be read, save it as safetensors" : ""));
}

}  // namespace

ShardedTensors ShardedTensors::open(const fs::path& directory,
                                    std::string_view stem,
                                    TensorNaming naming) {
  const fs::path index = directory / fmt::format("{}.safetensors.index.json", stem);
  const Listing listing = list_files(directory, stem, index);
  if (listing.files.empty()) fail_nothing_found(directory, stem);

  ShardedTensors tensors;
  tensors.directory_ = directory;
  tensors.files_.reserve(listing.files.size());
  std::set<std::string> seen;
  for (const std::string& name : listing.files) {
    const SafetensorsFile& file = tensors.files_.emplace_back(directory / name);
    for (const TensorEntry& entry : file.tensors()) {
      if (!listing.counts(entry.name, name)) continue;
      seen.insert(entry.name);
      tensors.add(naming == TensorNaming::kGpt2 ? canonical_name(entry.name) : entry.name,
                  {&file, &entry});
    }
  }
  for (const auto& [tensor, file] : listing.weight_map) {
    if (!seen.contains(tensor)) {
      throw FileError(fmt::format("{}: tensor '{}' is not in {}", index.string(), tensor, file));
    }
  }
  return tensors;
}

void ShardedTensors::read_float32(std::string_view name,
                                  const Shape& shape,
                                  std::span<float> out) const {
  const Place& found = place(name, shape);
  found.file->read_float32(*found.entry, out);
}

void ShardedTensors::read_float32(std::string_view name, std::span<float> out) const {
  const Place& found = place(name);
  found.file->read_float32(*found.entry, out);
}

void ShardedTensors::read_float32(std::string_view name,
                                  const Shape& shape,
                                  const SlicePart& part,
                                  std::span<float> out) const {
  const Place& found = place(name, shape);
  found.file->read_float32(*found.entry, part, out);
}

void ShardedTensors::read_weights(std::string_view name,
                                  const Shape& shape,
                                  std::span<float> out) const {
  read_weights(name, shape, {TensorSlice::whole(shape.num_elements()), 0}, out);
}

void ShardedTensors::read_weights(std::string_view name,
                                  const Shape& shape,
                                  const SlicePart& part,
                                  std::span<float> out) const {
  read_float32(name, shape, part, out);
  const auto bad = std::ranges::find_if_not(out, [](float value) { return std::isfinite(value); });
  if (bad == out.end()) return;
  throw FileError(fmt::format("{}: tensor '{}' has the value {}, weights must be finite",
                              place(name).file->path().string(), name, *bad));
}

std::vector<std::string> ShardedTensors::names() const {
  std::vector<std::string> names;
  for (const auto& [name, place] : places_) names.push_back(name);
  return names;
}

std::uint64_t ShardedTensors::total_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& [name, place] : places_) bytes += place.entry->bytes;
  return bytes;
}

void ShardedTensors::add(const std::string& name, Place place) {
  if (name.empty()) return;  // no parameter
  if (!places_.emplace(name, place).second) {
    throw FileError(fmt::format("{}: tensor '{}' is there twice (as '{}' too)",
                                place.file->path().string(), name, place.entry->name));
  }
}

const ShardedTensors::Place& ShardedTensors::place(std::string_view name) const {
  const auto found = places_.find(name);
  if (found == places_.end()) {
    throw FileError(fmt::format("{}: tensor '{}' is missing", directory_.string(), name));
  }
  return found->second;
}

const ShardedTensors::Place& ShardedTensors::place(std::string_view name,
                                                   const Shape& shape) const {
  const Place& found = place(name);
  if (std::ranges::equal(found.entry->shape, shape.extents())) return found;
  throw FileError(
      fmt::format("{}: tensor '{}' has shape [{}], [{}] was expected", found.file->path().string(),
                  name, fmt::join(found.entry->shape, ", "), fmt::join(shape.extents(), ", ")));
}

}  // namespace halfpipe::checkpoint
