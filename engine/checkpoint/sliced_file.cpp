// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/sliced_file.h"

#include "kernels/core/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace halfpipe::checkpoint {
namespace {

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195).
std::uint64_t hash_of(std::uint64_t position) {
  std::uint64_t z = position + 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31U);
}

}  // namespace

void WrittenParts::add(std::uint64_t begin, std::uint64_t end) {
  bytes += end - begin;
  ends += hash_of(end) - hash_of(begin);
}

WrittenParts& WrittenParts::operator+=(const WrittenParts& other) {
  bytes += other.bytes;
  ends += other.ends;
  return *this;
}

SlicedFile::SlicedFile(std::filesystem::path path,
                       std::vector<TensorSpec> tensors,
                       const Metadata& extra_metadata)
    : tensors_(std::move(tensors)),
      header_(make_header(tensors_, extra_metadata)),
      begins_{header_.size()},
      file_(std::move(path)) {
  for (const TensorSpec& tensor : tensors_) begins_.push_back(begins_.back() + tensor.bytes());
}

void SlicedFile::create() {
  file_.create(static_cast<std::int64_t>(begins_.back()));
  const files::FileRun header{0, std::as_bytes(std::span(header_))};
  file_.write({&header, 1});
  written_.add(0, header_.size());
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (tensors_[i].is_zero) written_.add(begins_[i], begins_[i + 1]);  // as the file was made
  }
}

void SlicedFile::write(std::size_t tensor,
                       const TensorSlice& slice,
                       std::int64_t first,
                       std::int64_t last,
                       const void* values) {
  const TensorSpec& spec = tensors_[tensor];
  HALFPIPE_CHECK(slice.whole_count() == spec.shape.num_elements() && !spec.is_zero,
                 "the slice is not of tensor " + spec.name);
  HALFPIPE_CHECK(0 <= first && first <= last && last <= slice.count(),
                 "elements beyond the slice of tensor " + spec.name);
  const auto element_bytes = static_cast<std::int64_t>(size_of(spec.dtype));
  const auto* source = static_cast<const std::byte*>(values);
  runs_.clear();
  for_each_run(slice, first, last, [&](const SliceRun& run) {
    const auto begin = begins_[tensor] + static_cast<std::uint64_t>(run.in_whole * element_bytes);
    const auto bytes = static_cast<std::size_t>(run.count * element_bytes);
    runs_.push_back({static_cast<std::int64_t>(begin),
                     {source + (run.in_slice - first) * element_bytes, bytes}});
    written_.add(begin, begin + bytes);
  });
  file_.write(runs_);
}

void SlicedFile::close() {
  file_.close();
}

void SlicedFile::finish(const WrittenParts& all) {
  WrittenParts whole;
  whole.add(0, begins_.back());
  HALFPIPE_CHECK(
      all == whole,
      fmt::format("{}: its parts are not the whole: {} bytes of {} were written, or some twice",
                  file_.path().string(), all.bytes, whole.bytes));
  file_.commit();
}

std::size_t SlicedFile::index_of(std::string_view name) const {
  const auto found = std::ranges::find(tensors_, name, &TensorSpec::name);
  HALFPIPE_CHECK(found != tensors_.end(),
                 fmt::format("tensor {} is not in {}", name, file_.path().string()));
  return static_cast<std::size_t>(found - tensors_.begin());
}

}  // namespace halfpipe::checkpoint
