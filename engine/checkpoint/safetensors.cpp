// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/safetensors.h"

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

/// How values of a dtype become float32.
struct Conversion {
  std::size_t element_bytes;
  void (*to_float32)(const std::byte* source, std::span<float> out);
};

/// Elements are copied out one by one: files of others need not align their data.
template <typename Stored, float (*convert)(Stored)>
constexpr Conversion kEach{sizeof(Stored), [](const std::byte* source, std::span<float> out) {
                             for (float& value : out) {
                               Stored stored;
                               std::memcpy(&stored, source, sizeof stored);
                               source += sizeof stored;
                               value = convert(stored);
                             }
                           }};

template <typename Stored>
float rounded(Stored value) {
  return static_cast<float>(value);
}

void copy(const std::byte* source, std::span<float> out) {
  std::memcpy(out.data(), source, out.size_bytes());
}

Conversion conversion_of(const TensorEntry& entry, const std::filesystem::path& path) {
  if (entry.dtype == "F32") return {sizeof(float), copy};
  if (entry.dtype == "F64") return kEach<double, rounded<double>>;
  if (entry.dtype == "I64") return kEach<std::int64_t, rounded<std::int64_t>>;
  if (entry.dtype == "BF16") return kEach<std::uint16_t, from_bfloat16>;
  if (entry.dtype == "F16") return kEach<std::uint16_t, from_float16>;
  throw FileError(fmt::format(
      "{}: tensor '{}': dtype {} cannot be read as float32 (F32, F64, F16, BF16, I64 can)",
      path.string(), entry.name, entry.dtype));
}

}  // namespace

SafetensorsFile::SafetensorsFile(std::filesystem::path path)
    : path_(std::move(path)), file_(path_), header_(parse_header(file_.bytes(), path_.string())) {}

void SafetensorsFile::read_float32(const TensorEntry& entry, std::span<float> out) const {
  HALFPIPE_CHECK(static_cast<std::size_t>(entry.num_elements()) == out.size(),
                 "the destination of tensor " + entry.name + " has another size");
  read_float32(entry, {TensorSlice::whole(entry.num_elements()), 0}, out);
}

void SafetensorsFile::read_float32(const TensorEntry& entry,
                                   const SlicePart& part,
                                   std::span<float> out) const {
  const std::int64_t last = part.first + static_cast<std::int64_t>(out.size());
  HALFPIPE_CHECK(part.slice.whole_count() <= entry.num_elements() && part.first >= 0 &&
                     last <= part.slice.count(),
                 "the part of tensor " + entry.name + " is not within it");
  const Conversion conversion = conversion_of(entry, path_);
  const std::byte* source = file_.bytes().data() + data_start(file_.bytes()) + entry.begin;
  if (part.slice.end > part.slice.extent) std::ranges::fill(out, 0.0F);
  for_each_run(part.slice, part.first, last, [&](const SliceRun& run) {
    conversion.to_float32(
        source + static_cast<std::size_t>(run.in_whole) * conversion.element_bytes,
        out.subspan(static_cast<std::size_t>(run.in_slice - part.first),
                    static_cast<std::size_t>(run.count)));
  });
}

const TensorEntry* SafetensorsFile::find_or_null(std::string_view name) const {
  const auto& tensors = header_.tensors;
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const TensorEntry& entry) { return entry.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

}  // namespace halfpipe::checkpoint
