// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

#include "kernels/core/bfloat16.h"
#include "kernels/core/error.h"
#include "tests/engine/checkpoint/scratch_directory.h"
#include "tests/engine/checkpoint/written_files.h"

namespace halfpipe::checkpoint {
namespace {

/// A file with this header and so many bytes of data, whatever they mean.
std::string file_with(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + std::string(data_bytes, '\0');
}

template <typename Element>
std::string bytes_of(const std::vector<Element>& elements) {
  std::string bytes(elements.size() * sizeof(Element), '\0');
  std::memcpy(bytes.data(), elements.data(), bytes.size());
  return bytes;
}

TEST(Safetensors, WritesTheGoldenBytes) {
  const ScratchDirectory scratch;
  const std::array<float, 3> values{1.0F, -2.0F, 0.5F};
  const std::vector<NamedTensor> tensors{{"a", {3}, values.data()}, {"zero", {1, 2}, nullptr}};
  write_safetensors(scratch / "file", tensors, {{"step", "7"}});
  const std::string header =
      R"({"__metadata__":{"format":"pt","step":"7"},"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
      R"("zero":{"dtype":"F32","shape":[1,2],"data_offsets":[12,20]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  const std::string data = bytes_of(std::vector<float>{1.0F, -2.0F, 0.5F, 0.0F, 0.0F});
  EXPECT_EQ(read_bytes(scratch / "file"), file_with(padded, 0) + data);
}

TEST(Safetensors, WritesBFloat16AsItIs) {
  const ScratchDirectory scratch;
  const std::array<BFloat16, 3> values{to_bfloat16(1.0F), to_bfloat16(-0.15625F), BFloat16{1}};
  const std::vector<NamedTensor> tensors{{"a", {3}, values.data(), DType::kBFloat16},
                                         {"zero", {2}, nullptr, DType::kBFloat16}};
  write_safetensors(scratch / "file", tensors);
  const SafetensorsFile file(scratch / "file");
  ASSERT_EQ(file.tensors().size(), 2U);
  EXPECT_EQ(file.tensors()[0].dtype, "BF16");
  EXPECT_EQ(file.tensors()[0].bytes, 6U);
  EXPECT_EQ(file.tensors()[1].bytes, 4U);
  std::array<float, 3> read{};
  file.read_float32(file.tensors()[0], read);
  for (std::size_t i = 0; i < read.size(); ++i) EXPECT_EQ(read[i], to_float(values[i]));
}

TEST(Safetensors, ReadsWhatItWrote) {
  const ScratchDirectory scratch;
  std::vector<float> values(std::size_t{257} * 13);
  std::iota(values.begin(), values.end(), -100.0F);
  const std::vector<NamedTensor> tensors{{"matrix", {257, 13}, values.data()},
                                         {"none", {0, 4}, nullptr},
                                         {"scalar", {}, values.data()}};
  write_safetensors(scratch / "file", tensors);
  const SafetensorsFile file(scratch / "file");
  ASSERT_EQ(file.tensors().size(), 3U);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  const TensorEntry* matrix = file.find_or_null("matrix");
  ASSERT_NE(matrix, nullptr);
  EXPECT_EQ(matrix->shape, (std::vector<std::int64_t>{257, 13}));
  std::vector<float> read(values.size());
  file.read_float32(*matrix, read);
  EXPECT_EQ(read, values);
  EXPECT_EQ(file.find_or_null("absent"), nullptr);
}

TEST(Safetensors, WritesNoTensorsAtAll) {
  const ScratchDirectory scratch;
  write_safetensors(scratch / "file", {});
  EXPECT_TRUE(SafetensorsFile(scratch / "file").tensors().empty());
}

struct DTypeCase {
  std::string dtype;
  std::string data;
  std::vector<float> values;
};

class SafetensorsDType : public testing::TestWithParam<DTypeCase> {};

TEST_P(SafetensorsDType, IsReadAsFloat32) {
  const ScratchDirectory scratch;
  const DTypeCase& c = GetParam();
  const std::string header = R"({"t":{"dtype":")" + c.dtype + R"(","shape":[)" +
                             std::to_string(c.values.size()) + R"(],"data_offsets":[0,)" +
                             std::to_string(c.data.size()) + "]}}";
  write_bytes(scratch / "file",
              file_with(header, 0) + c.data);  // not padded: the data is not aligned
  const SafetensorsFile file(scratch / "file");
  std::vector<float> read(c.values.size());
  file.read_float32(file.tensors().front(), read);
  EXPECT_EQ(bytes_of(read), bytes_of(c.values));  // bit for bit: -0 and infinity count
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();
INSTANTIATE_TEST_SUITE_P(
    All,
    SafetensorsDType,
    testing::Values(
        DTypeCase{"F32", bytes_of<float>({1.5F, -0.0F}), {1.5F, -0.0F}},
        DTypeCase{"F64", bytes_of<double>({0.1, -1e300, 3.0}), {0.1F, -kInfinity, 3.0F}},
        DTypeCase{"I64", bytes_of<std::int64_t>({-5, 1LL << 40}), {-5.0F, 1099511627776.0F}},
        DTypeCase{
            "BF16", bytes_of<std::uint16_t>({0x3F80, 0xC000, 0x7F80}), {1.0F, -2.0F, kInfinity}},
        // 1, -2, the largest, the smallest normal, the smallest subnormal, -0, -infinity
        DTypeCase{"F16",
                  bytes_of<std::uint16_t>({0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0x8000, 0xFC00}),
                  {1.0F, -2.0F, 65504.0F, 0x1p-14F, 0x1p-24F, -0.0F, -kInfinity}}),
    [](const auto& tested) { return tested.param.dtype; });

struct MalformedCase {
  std::string name;
  std::string bytes;
  std::vector<std::string> message;  // parts of it
};

class MalformedSafetensors : public testing::TestWithParam<MalformedCase> {};

TEST_P(MalformedSafetensors, IsRefusedByFileAndRule) {
  const ScratchDirectory scratch;
  write_bytes(scratch / "file", GetParam().bytes);
  const std::string message =
      message_of<FileError>([&] { const SafetensorsFile file(scratch / "file"); });
  EXPECT_TRUE(contains(message, (scratch / "file").string())) << message;
  for (const std::string& part : GetParam().message)
    EXPECT_TRUE(contains(message, part)) << message;
}

std::string one_tensor(const std::string& entry) {
  return file_with(R"({"t":)" + entry + "}", 8);
}

std::string two_tensors(const std::string& first,
                        const std::string& second,
                        std::size_t data_bytes) {
  return file_with(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + first +
                       R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":)" + second + "}}",
                   data_bytes);
}

const std::string kHugeLength = std::string(7, '\0') + "\x01{}";

INSTANTIATE_TEST_SUITE_P(
    All,
    MalformedSafetensors,
    testing::Values(
        MalformedCase{"Empty", "", {"0 bytes"}},
        MalformedCase{"ShorterThanItsLength", "abc", {"3 bytes"}},
        MalformedCase{"LengthAboveTheLimit", kHugeLength, {"above the limit"}},
        MalformedCase{
            "LengthPastTheEnd", file_with("{}", 0).replace(0, 1, "\x63"), {"header length 99"}},
        MalformedCase{"EmptyHeader", file_with("", 0), {"'{'"}},
        MalformedCase{"NotAnObject", file_with("[1]", 0), {"'{'"}},
        MalformedCase{"NotJson", file_with("{\"t\":", 0), {"not JSON"}},
        MalformedCase{"NotUtf8", file_with("{\"\xFF\":1}", 0), {"not JSON"}},
        MalformedCase{"TextAfterTheObject", file_with("{} {}", 0), {"not JSON"}},
        MalformedCase{
            "DeepNesting", file_with("{\"t\":" + std::string(100'000, '['), 0), {"nested"}},
        MalformedCase{
            "MetadataNotAnObject", file_with(R"({"__metadata__":[]})", 0), {"__metadata__"}},
        MalformedCase{
            "MetadataNotText", file_with(R"({"__metadata__":{"n":1}})", 0), {"'n'", "string"}},
        MalformedCase{"EntryNotAnObject", one_tensor("1"), {"'t'", "object"}},
        MalformedCase{
            "NoDtype", one_tensor(R"({"shape":[2],"data_offsets":[0,8]})"), {"'t'", "'dtype'"}},
        MalformedCase{
            "NoShape", one_tensor(R"({"dtype":"F32","data_offsets":[0,8]})"), {"'shape'"}},
        MalformedCase{
            "NoOffsets", one_tensor(R"({"dtype":"F32","shape":[2]})"), {"'data_offsets'"}},
        MalformedCase{"UnknownDtype",
                      one_tensor(R"({"dtype":"F31","shape":[2],"data_offsets":[0,8]})"),
                      {"'t'", "unknown dtype 'F31'"}},
        MalformedCase{"DtypeNotText",
                      one_tensor(R"({"dtype":3,"shape":[2],"data_offsets":[0,8]})"),
                      {"dtype"}},
        MalformedCase{"NegativeExtent",
                      one_tensor(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"),
                      {"'t'", "shape"}},
        MalformedCase{"FractionalExtent",
                      one_tensor(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"),
                      {"shape"}},
        MalformedCase{"NestedShape",
                      one_tensor(R"({"dtype":"F32","shape":[[2]],"data_offsets":[0,8]})"),
                      {"nested"}},
        MalformedCase{
            "OverflowingShape",
            one_tensor(R"({"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]})"),
            {"'t'", "too large"}},
        MalformedCase{"SizeIsNotShapeTimesDtype",
                      one_tensor(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"),
                      {"'t'", "[3]", "12 bytes", "8"}},
        MalformedCase{
            "OneOffset", one_tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[8]})"), {"two"}},
        MalformedCase{"BackwardOffsets",
                      one_tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"),
                      {"'t'", "backwards"}},
        MalformedCase{"OffsetsPastTheEnd",
                      one_tensor(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})"),
                      {"'t'", "past the end"}},
        MalformedCase{
            "HugeOffsets",
            one_tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[9223372036854775800,1e30]})"),
            {"'t'", "data_offsets"}},
        MalformedCase{"Overlap", two_tensors("[0,8]", "[4,12]", 12), {"'b'", "overlap"}},
        MalformedCase{"SameBytesTwice", two_tensors("[0,8]", "[0,8]", 8), {"overlap"}},
        MalformedCase{"Hole", two_tensors("[0,8]", "[12,20]", 20), {"'b'", "hole"}},
        MalformedCase{"HoleAtTheStart", two_tensors("[4,12]", "[12,20]", 20), {"'a'", "hole"}},
        MalformedCase{"TrailingBytes", two_tensors("[0,8]", "[8,16]", 20), {"4 trailing bytes"}},
        MalformedCase{"Truncated", two_tensors("[0,8]", "[8,16]", 15), {"'b'", "past the end"}},
        MalformedCase{"NameTwice",
                      file_with(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                R"("t":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})",
                                16),
                      {"'t'", "twice"}},
        MalformedCase{
            "KeyTwiceInATensor",
            one_tensor(R"({"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]})"),
            {"'dtype'", "twice"}}),
    [](const auto& tested) { return tested.param.name; });

TEST(Safetensors, RefusesToConvertWhatItCannot) {
  const ScratchDirectory scratch;
  write_bytes(scratch / "file", one_tensor(R"({"dtype":"U64","shape":[1],"data_offsets":[0,8]})"));
  const SafetensorsFile file(scratch / "file");
  std::array<float, 1> out{};
  const std::string message =
      message_of<FileError>([&] { file.read_float32(file.tensors().front(), out); });
  EXPECT_TRUE(contains(message, "'t'") && contains(message, "U64")) << message;
}

TEST(Safetensors, NoDamageToAHeaderGetsPastTheReader) {
  // Any damage may still be a valid file; what must never happen is a read outside it (the
  // sanitizers see that), or an exception other than FileError.
  const ScratchDirectory scratch;
  const std::vector<float> values(64, 1.0F);
  const std::vector<NamedTensor> tensors{{"a", {4, 8}, values.data()}, {"b", {32}, values.data()}};
  write_safetensors(scratch / "good", tensors);
  const std::string good = read_bytes(scratch / "good");
  std::mt19937 random(1);
  for (int trial = 0; trial < 3000; ++trial) {
    std::string bad = good;
    for (auto flips = 1 + random() % 3; flips > 0; --flips)
      bad[random() % 180] = static_cast<char>(random());
    if (random() % 4 == 0) bad.resize(random() % bad.size());
    const auto* start = reinterpret_cast<const std::byte*>(bad.data());
    try {
      const SafetensorsHeader header = parse_header({start, bad.size()}, "bad");
      for (const TensorEntry& entry : header.tensors)
        EXPECT_LE(entry.begin + entry.bytes, bad.size());
    } catch (const FileError&) {
    }
  }
}

TEST(Safetensors, WritingANameTwiceIsABugOfTheCaller) {
  const std::vector<TensorSpec> tensors{{"a", {2}}, {"a", {2}}};
  EXPECT_THROW((void)make_header(tensors, {}), InternalError);
}

}  // namespace
}  // namespace halfpipe::checkpoint
