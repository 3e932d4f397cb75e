// SPDX-License-Identifier: Apache-2.0
#include "engine/files/json_file.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "tests/engine/files/temporary_folder.h"

namespace halfpipe::files {
namespace {

std::string nested(std::size_t depth) {
  return R"({"a": )" + std::string(depth, '[') + std::string(depth, ']') + "}";
}

TEST(ParseJson, ReadsWhatIsJson) {
  EXPECT_EQ(parse_json(R"({"a": [1, {"b": null}]})", "file"),
            nlohmann::json({{"a", {1, {{"b", nullptr}}}}}));
  EXPECT_TRUE(parse_json(nested(20), "file").is_object());
}

TEST(ParseJson, RefusesTheRestByName) {
  for (const char* text : {"", "{", "[1,]", "{\"a\": \"\xff\"}"})
    expect_error<FileError>([&] { (void)parse_json(text, "dir/file"); }, {"dir/file: not JSON"});
  for (const std::size_t depth : {50U, 1'000'000U}) {
    expect_error<FileError>([&] { (void)parse_json(nested(depth), "dir/file"); },
                            {"dir/file: nested too deeply"});
  }
}

}  // namespace
}  // namespace halfpipe::files
