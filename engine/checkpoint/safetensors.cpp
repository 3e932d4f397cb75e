// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/safetensors.h"

#include "engine/files/output_file.h"
#include "kernels/core/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

namespace halfpipe::checkpoint {
namespace {

float from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

/// IEEE 754 binary16: sign, 5 bits of exponent with bias 15, 10 bits of fraction.
float from_float16(std::uint16_t bits) {
  const int exponent = (bits >> 10U) & 0x1F;
  const std::uint32_t fraction = bits & 0x3FFU;
  const std::uint32_t sign = (bits & 0x8000U) << 16U;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000U | (fraction << 13U));
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(fraction), -24)
                              : std::ldexp(static_cast<float>(fraction | 0x400U), exponent - 25);
  return sign != 0 ? -magnitude : magnitude;
}

/// Elements are copied out one by one: files of others need not align their data.
template <typename Stored, typename Convert>
void convert_each(const std::byte* source, std::span<float> out, Convert convert) {
  for (float& value : out) {
    Stored stored;
    std::memcpy(&stored, source, sizeof stored);
    source += sizeof stored;
    value = convert(stored);
  }
}

}  // namespace

std::span<const std::byte> host_values(const NamedTensor& tensor) {
  return {static_cast<const std::byte*>(tensor.values_or_null), tensor.bytes()};
}

void write_safetensors(const std::filesystem::path& path,
                       std::span<const NamedTensor> tensors,
                       const Metadata& extra_metadata,
                       const FetchValues& fetch) {
  files::OutputFile file(path);
  file.write(make_header(tensors, extra_metadata));
  for (const NamedTensor& tensor : tensors) {
    if (tensor.values_or_null == nullptr) {
      file.write_zeros(tensor.bytes());
    } else {
      file.write(fetch(tensor));
    }
  }
  file.commit();
}

SafetensorsFile::SafetensorsFile(std::filesystem::path path)
    : path_(std::move(path)), file_(path_), header_(parse_header(file_.bytes(), path_.string())) {}

void SafetensorsFile::read_float32(const TensorEntry& entry, std::span<float> out) const {
  HALFPIPE_CHECK(static_cast<std::size_t>(entry.num_elements()) == out.size(),
                 "the destination of tensor " + entry.name + " has another size");
  const std::byte* source = file_.bytes().data() + data_start(file_.bytes()) + entry.begin;
  if (entry.dtype == "F32") {
    if (!out.empty()) std::memcpy(out.data(), source, out.size_bytes());
  } else if (entry.dtype == "F64") {
    convert_each<double>(source, out, [](double x) { return static_cast<float>(x); });
  } else if (entry.dtype == "I64") {
    convert_each<std::int64_t>(source, out, [](std::int64_t x) { return static_cast<float>(x); });
  } else if (entry.dtype == "BF16") {
    convert_each<std::uint16_t>(source, out, from_bfloat16);
  } else if (entry.dtype == "F16") {
    convert_each<std::uint16_t>(source, out, from_float16);
  } else {
    throw FileError(fmt::format(
        "{}: tensor '{}': dtype {} cannot be read as float32 (F32, F64, F16, BF16, I64 can)",
        path_.string(), entry.name, entry.dtype));
  }
}

const TensorEntry* SafetensorsFile::find_or_null(std::string_view name) const {
  const auto& tensors = header_.tensors;
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const TensorEntry& entry) { return entry.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

}  // namespace halfpipe::checkpoint
