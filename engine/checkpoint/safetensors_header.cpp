// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/safetensors_header.h"

#include "kernels/core/align.h"
#include "kernels/core/error.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>
#include <utility>

static_assert(std::endian::native == std::endian::little,
              "safetensors data is little-endian, and is used as it lies");

namespace halfpipe::checkpoint {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference reader
constexpr const char* kMetadataKey = "__metadata__";

/// Bytes of an element; 0 for a dtype that the format does not know.
std::uint64_t element_bytes(std::string_view dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  const bool is_byte =
      dtype == "I8" || dtype == "U8" || dtype == "BOOL" || dtype == "F8_E4M3" || dtype == "F8_E5M2";
  return is_byte ? 1 : 0;
}

/// As the format spells what is written.
const char* spelling(DType dtype) {
  HALFPIPE_CHECK(dtype == DType::kFloat32 || dtype == DType::kBFloat16,
                 "tensors are written in float32 or bfloat16");
  return dtype == DType::kBFloat16 ? "BF16" : "F32";
}

/// Names the file, and the tensor where one is meant.
struct Complaint {
  const std::string& file_name;

  [[noreturn]] void operator()(const std::string& rule) const {
    throw FileError(fmt::format("{}: not a valid safetensors file: {}", file_name, rule));
  }
  [[noreturn]] void operator()(const std::string& tensor, const std::string& rule) const {
    throw FileError(fmt::format("{}: tensor '{}': {}", file_name, tensor, rule));
  }
};

/// The JSON text of the header, once its length is known to be right.
std::string_view header_text(std::span<const std::byte> file, const Complaint& fail) {
  if (file.size() < kLengthBytes) {
    fail(fmt::format("{} bytes are too few for the length of its header", file.size()));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  if (length > kMaxHeaderBytes) {
    fail(fmt::format("header length {} is above the limit of {} bytes", length, kMaxHeaderBytes));
  }
  if (length > file.size() - kLengthBytes) {
    fail(fmt::format("header length {} reaches past the end of the file ({} bytes)", length,
                     file.size()));
  }
  const auto* text = reinterpret_cast<const char*>(file.data()) + kLengthBytes;
  if (length == 0 || *text != '{') fail("the header does not start with '{'");
  return {text, length};
}

/// Parses JSON, refusing what nlohmann::json lets pass: a name twice (the second would win
/// silently) and deep nesting (its tree would take far more memory than the text).
json parse_strictly(std::string_view text, const Complaint& fail) {
  constexpr int kMaxDepth = 3;  // header, tensor, shape
  std::array<std::set<std::string>, kMaxDepth + 1> keys;
  const auto check = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kMaxDepth) fail("the header is nested too deeply");
    const auto level = static_cast<std::size_t>(depth);
    if (event == json::parse_event_t::object_start && level + 1 < keys.size())
      keys[level + 1].clear();
    if (event == json::parse_event_t::key && !keys[level].insert(value.get<std::string>()).second) {
      fail(value.get<std::string>(), "the name appears twice in the header");
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::exception& error) {
    fail(fmt::format("the header is not JSON ({})", error.what()));
  }
}

Metadata parse_metadata(const json& value, const Complaint& fail) {
  if (!value.is_object()) fail("__metadata__ must be an object");
  Metadata metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) fail(fmt::format("__metadata__ '{}' must be a string", key));
    metadata.emplace(key, text.get<std::string>());
  }
  return metadata;
}

/// Reads one tensor's entry; its place among the others is checked later.
TensorEntry parse_tensor(const std::string& name, const json& value, const Complaint& fail) {
  if (!value.is_object()) fail(name, "its entry must be an object");
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!value.contains(key)) fail(name, fmt::format("its entry has no '{}'", key));
  }
  const auto is_count = [](const json& number) {
    return number.is_number_unsigned() &&
           number.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX);
  };
  const json& shape = value["shape"];
  const json& offsets = value["data_offsets"];
  if (!value["dtype"].is_string()) fail(name, "dtype must be a string");
  if (!shape.is_array() || !std::all_of(shape.begin(), shape.end(), is_count)) {
    fail(name, "shape must be a list of whole numbers");
  }
  if (!offsets.is_array() || offsets.size() != 2 ||
      !std::all_of(offsets.begin(), offsets.end(), is_count)) {
    fail(name, "data_offsets must be two whole numbers");
  }
  TensorEntry entry{name, value["dtype"], shape.get<std::vector<std::int64_t>>(), offsets[0], 0};
  const auto end = offsets[1].get<std::uint64_t>();
  if (end < entry.begin)
    fail(name, fmt::format("data_offsets [{}, {}] run backwards", entry.begin, end));
  entry.bytes = end - entry.begin;

  std::uint64_t wanted = element_bytes(entry.dtype);
  if (wanted == 0) fail(name, fmt::format("unknown dtype '{}'", entry.dtype));
  for (const std::int64_t extent : entry.shape) {
    if (__builtin_mul_overflow(wanted, static_cast<std::uint64_t>(extent), &wanted)) {
      fail(name, fmt::format("shape [{}] is too large", fmt::join(entry.shape, ", ")));
    }
  }
  if (wanted != entry.bytes) {
    fail(name, fmt::format("shape [{}] of {} takes {} bytes, data_offsets give {}",
                           fmt::join(entry.shape, ", "), entry.dtype, wanted, entry.bytes));
  }
  return entry;
}

/// The tensors must tile the data: from 0, without overlap or hole, to the end of the file.
void check_cover(const std::vector<TensorEntry>& tensors,
                 std::uint64_t data_bytes,
                 const Complaint& fail) {
  std::uint64_t position = 0;
  for (const TensorEntry& entry : tensors) {
    const std::uint64_t end = entry.begin + entry.bytes;
    const std::string range = fmt::format("data_offsets [{}, {}]", entry.begin, end);
    if (end > data_bytes) {
      fail(entry.name,
           fmt::format("{} reach past the end of the data ({} bytes)", range, data_bytes));
    }
    if (entry.begin < position) fail(entry.name, range + " overlap the tensor before it");
    if (entry.begin > position)
      fail(entry.name, fmt::format("{} leave a hole after byte {}", range, position));
    position = end;
  }
  if (position != data_bytes) {
    fail(fmt::format("{} trailing bytes after the last tensor", data_bytes - position));
  }
}

}  // namespace

std::int64_t TensorEntry::num_elements() const {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::string make_header(std::span<const TensorSpec> tensors, const Metadata& extra) {
  ordered_json header;
  header[kMetadataKey] = {{"format", "pt"}};
  for (const auto& [key, value] : extra) header[kMetadataKey][key] = value;
  std::set<std::string_view> names{kMetadataKey};
  std::uint64_t offset = 0;
  for (const TensorSpec& tensor : tensors) {
    HALFPIPE_CHECK(names.insert(tensor.name).second,
                   "tensor " + tensor.name + " would be written twice");
    const auto extents = tensor.shape.extents();
    ordered_json entry;
    entry["dtype"] = spelling(tensor.dtype);
    entry["shape"] = std::vector<std::int64_t>(extents.begin(), extents.end());
    entry["data_offsets"] = {offset, offset + tensor.bytes()};
    header[tensor.name] = std::move(entry);
    offset += tensor.bytes();
  }
  std::string text = header.dump();
  text.resize(round_up(text.size(), std::size_t{8}), ' ');

  const std::uint64_t length = text.size();
  std::string bytes(kLengthBytes, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + text;
}

SafetensorsHeader parse_header(std::span<const std::byte> file, const std::string& file_name) {
  const Complaint fail{file_name};
  const std::string_view text = header_text(file, fail);
  const json root = parse_strictly(text, fail);
  SafetensorsHeader header;
  for (const auto& [name, value] : root.items()) {
    if (name == kMetadataKey) {
      header.metadata = parse_metadata(value, fail);
    } else {
      header.tensors.push_back(parse_tensor(name, value, fail));
    }
  }
  // Empty tensors come before the one that starts at the same offset.
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorEntry& a, const TensorEntry& b) {
              return std::pair(a.begin, a.bytes) < std::pair(b.begin, b.bytes);
            });
  check_cover(header.tensors, file.size() - kLengthBytes - text.size(), fail);
  return header;
}

std::uint64_t data_start(std::span<const std::byte> file) {
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  return kLengthBytes + length;
}

}  // namespace halfpipe::checkpoint
