// SPDX-License-Identifier: Apache-2.0
// A file written in parts is the file that one rank writes, byte for byte, however it is cut.
#include "engine/checkpoint/sliced_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "engine/checkpoint/safetensors.h"
#include "kernels/core/bfloat16.h"
#include "kernels/core/error.h"
#include "tests/engine/checkpoint/scratch_directory.h"
#include "tests/engine/checkpoint/written_files.h"

namespace halfpipe::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kC = 12;
constexpr std::int64_t kV = 11;

/// How ranks cut a tensor: as slices of [outer, extent, inner], rank r the indices cuts[r] ..
/// cuts[r + 1] - 1 of the middle axis. Cuts beyond `extent` give padding.
struct Cut {
  std::int64_t outer;
  std::int64_t extent;
  std::int64_t inner;
  std::vector<std::int64_t> cuts;

  [[nodiscard]] TensorSlice slice(std::size_t rank) const {
    return {outer, extent, inner, cuts[rank], cuts[rank + 1]};
  }
};

struct CutTensor {
  TensorSpec spec;
  std::vector<Cut> by_ranks;  // for as many ranks as a test has, unevenly and not
};

/// Of three ranks.
std::vector<CutTensor> cut_tensors() {
  const auto bf16 = DType::kBFloat16;
  return {
      {{"rows", {kV, kC}}, {{1, kV, kC, {0, 1, 9, kV}}, {1, kV, kC, {0, 4, 8, 12}}}},
      {{"zero", {5}, DType::kFloat32, true}, {}},
      {{"columns", {kC, 4 * kC}},
       {{kC, 4 * kC, 1, {0, 16, 32, 48}}, {kC, 4 * kC, 1, {0, 1, 2, 48}}}},
      {{"groups", {kC, 3 * kC}, bf16},
       {{3 * kC, kC, 1, {0, 4, 8, 12}}, {3 * kC, kC, 1, {0, 6, 11, 14}}}},
      {{"padding alone", {2, kC}}, {{1, 2, kC, {0, 2, 4, 6}}, {1, 2, kC, {0, 1, 2, 3}}}},
      {{"padded columns", {3, 7}, bf16}, {{3, 7, 1, {0, 3, 6, 9}}, {3, 7, 1, {0, 0, 7, 8}}}},
  };
}

/// The value of an element: no two are alike.
float value_of(std::size_t tensor, std::int64_t element) {
  return std::ldexp(static_cast<float>(element % 256 + 1),
                    static_cast<int>(tensor * 8 + element / 256));
}

constexpr float kPadding = -1.0F;  // what a rank holds there: anything

/// Elements of a slice as a rank holds them, in the tensor's dtype.
std::vector<std::byte> held(const TensorSpec& spec, std::size_t tensor, const TensorSlice& slice) {
  std::vector<float> values(static_cast<std::size_t>(slice.count()), kPadding);
  for_each_run(slice, [&](const SliceRun& run) {
    for (std::int64_t i = 0; i < run.count; ++i) {
      values[static_cast<std::size_t>(run.in_slice + i)] = value_of(tensor, run.in_whole + i);
    }
  });
  std::vector<std::byte> bytes(values.size() * size_of(spec.dtype));
  if (spec.dtype == DType::kFloat32) {
    std::ranges::copy(std::as_bytes(std::span(values)), bytes.begin());
  } else {
    std::vector<BFloat16> rounded(values.size());
    std::ranges::transform(values, rounded.begin(), to_bfloat16);
    std::ranges::copy(std::as_bytes(std::span(rounded)), bytes.begin());
  }
  return bytes;
}

class Slices : public testing::Test {
 protected:
  static constexpr std::size_t kNumRanks = 3;

  Slices() {
    for (const CutTensor& each : tensors_) specs_.push_back(each.spec);
    SlicedFile file(scratch_ / "whole", specs_);
    file.create();
    for (std::size_t i = 0; i < specs_.size(); ++i) {
      if (specs_[i].is_zero) continue;
      const TensorSlice whole = TensorSlice::whole(specs_[i].shape.num_elements());
      file.write(i, whole, 0, whole.count(), held(specs_[i], i, whole).data());
    }
    file.close();
    file.finish(file.written());
  }

  /// Writes what `rank` holds, in pieces of at most so many elements.
  void write_parts(SlicedFile& file, std::size_t rank, std::size_t cut, std::int64_t piece) const {
    for (std::size_t i = 0; i < specs_.size(); ++i) {
      if (specs_[i].is_zero) continue;
      const TensorSlice slice = tensors_[i].by_ranks[cut].slice(rank);
      const std::vector<std::byte> values = held(specs_[i], i, slice);
      for (std::int64_t first = 0; first < slice.count(); first += piece) {
        const std::int64_t last = std::min(first + piece, slice.count());
        file.write(i, slice, first, last,
                   values.data() + static_cast<std::size_t>(first) * size_of(specs_[i].dtype));
      }
    }
  }

  std::vector<CutTensor> tensors_ = cut_tensors();
  std::vector<TensorSpec> specs_;
  ScratchDirectory scratch_;
};

TEST_F(Slices, ThatRanksWriteAtOnceAreTheFileOfOne) {
  for (const std::size_t cut : {0U, 1U}) {
    for (const std::int64_t piece : {1L, 7L, 1000L}) {
      std::vector<std::unique_ptr<SlicedFile>> files;
      for (std::size_t rank = 0; rank < kNumRanks; ++rank) {
        files.push_back(std::make_unique<SlicedFile>(scratch_ / "parts", specs_));
      }
      files[1]->create();
      {
        std::vector<std::jthread> ranks;
        for (std::size_t rank = 0; rank < kNumRanks; ++rank) {
          ranks.emplace_back([&, rank] {
            write_parts(*files[rank], rank, cut, piece);
            files[rank]->close();
          });
        }
      }
      EXPECT_FALSE(fs::exists(scratch_ / "parts"));
      WrittenParts all;
      for (const auto& file : files) all += file->written();
      files[1]->finish(all);
      EXPECT_EQ(read_bytes(scratch_ / "parts"), read_bytes(scratch_ / "whole"))
          << "cut " << cut << ", pieces of " << piece;
      fs::remove(scratch_ / "parts");
    }
  }
}

TEST_F(Slices, AreReadFromTheWhole) {
  const SafetensorsFile file(scratch_ / "whole");
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    for (const Cut& cut : tensors_[i].by_ranks) {
      for (std::size_t rank = 0; rank < kNumRanks; ++rank) {
        const TensorSlice slice = cut.slice(rank);
        std::vector<float> expected(static_cast<std::size_t>(slice.count()), 0.0F);
        for_each_run(slice, [&](const SliceRun& run) {
          for (std::int64_t k = 0; k < run.count; ++k) {
            expected[static_cast<std::size_t>(run.in_slice + k)] = value_of(i, run.in_whole + k);
          }
        });
        for (const std::int64_t piece : {1L, 7L, 1000L}) {
          std::vector<float> read(expected.size(), 99.0F);
          for (std::int64_t first = 0; first < slice.count(); first += piece) {
            const std::int64_t count = std::min(piece, slice.count() - first);
            file.read_float32(file.tensors()[i], {slice, first},
                              std::span(read).subspan(static_cast<std::size_t>(first),
                                                      static_cast<std::size_t>(count)));
          }
          EXPECT_EQ(read, expected) << specs_[i].name << ", rank " << rank;
        }
      }
    }
  }
}

TEST_F(Slices, OfTheFirstRowsAreReadToo) {
  const SafetensorsFile file(scratch_ / "whole");
  const TensorSlice slice{4, kC, 1, 3, 5};  // of the first four rows, two columns
  std::vector<float> read(8);
  file.read_float32(file.tensors()[0], {slice, 0}, read);
  for (std::int64_t i = 0; i < 8; ++i) {
    EXPECT_EQ(read[static_cast<std::size_t>(i)], value_of(0, i / 2 * kC + 3 + i % 2));
  }
}

/// The parts that `write` writes, finished: the complaint about them.
template <typename Write>
std::string complaint_about(SlicedFile& file, Write write) {
  file.create();
  write();
  file.close();
  return message_of<InternalError>([&] { file.finish(file.written()); });
}

TEST_F(Slices, ThatAreMissingOrThereTwiceAreNoticed) {
  const std::vector<TensorSpec> specs{{"a", {4, 6}}};
  const std::vector<float> values(24, 1.0F);
  const auto columns = [](std::int64_t begin, std::int64_t end) {
    return TensorSlice{4, 6, 1, begin, end};
  };
  SlicedFile missing(scratch_ / "missing", specs);
  EXPECT_TRUE(contains(
      complaint_about(missing, [&] { missing.write(0, columns(0, 5), 0, 20, values.data()); }),
      "missing: its parts are not the whole"));
  SlicedFile twice(scratch_ / "twice", specs);  // as many bytes as the whole
  EXPECT_TRUE(contains(complaint_about(twice,
                                       [&] {
                                         twice.write(0, columns(0, 4), 0, 16, values.data());
                                         twice.write(0, columns(3, 5), 0, 8, values.data());
                                       }),
                       "twice: its parts are not the whole"));
  EXPECT_FALSE(fs::exists(scratch_ / "missing"));
  EXPECT_FALSE(fs::exists(scratch_ / "twice"));
}

TEST_F(Slices, OfAnotherTensorAreRefused) {
  SlicedFile file(scratch_ / "file", specs_);
  file.create();
  const std::vector<float> values(200);
  EXPECT_THROW(file.write(0, {1, kV + 1, kC, 0, 1}, 0, kC, values.data()), InternalError);
  EXPECT_THROW(file.write(0, {1, kV, kC, 0, 1}, 0, kC + 1, values.data()), InternalError);
  EXPECT_THROW(file.write(1, {1, 5, 1, 0, 1}, 0, 1, values.data()), InternalError);
  EXPECT_THROW((void)file.index_of("absent"), InternalError);
}

TEST_F(Slices, OfAFileThatIsNotFinishedLeaveNothing) {
  {
    SlicedFile creator(scratch_ / "file", specs_);
    SlicedFile other(scratch_ / "file", specs_);
    creator.create();
    write_parts(other, 2, 0, 1000);
    other.close();
  }
  std::vector<std::string> names;
  for (const auto& item : fs::directory_iterator(scratch_.path())) {
    names.push_back(item.path().filename());
  }
  EXPECT_EQ(names, std::vector<std::string>{"whole"});
}

}  // namespace
}  // namespace halfpipe::checkpoint
