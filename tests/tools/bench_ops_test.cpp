// SPDX-License-Identifier: Apache-2.0
// `halfpipe bench ops`: which operations it measures, what it says they have to do, and that its
// figures agree with one another. How fast anything is, is no matter of a test.
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

using nlohmann::json;

class BenchOps : public CommandTest {
 protected:
  /// run.yaml: B 4, T 16, C 32, NH 2, F 128, V 256 (bytes), biases, tied. 5 repetitions of each.
  [[nodiscard]] static Arguments ops(const Arguments& more) {
    return Arguments{"bench", "ops", "run.yaml", "--seconds", "0", "--threads", "1"} + more;
  }
  /// By name; a name that is there twice is a failure.
  [[nodiscard]] static std::map<std::string, json> by_name(const json& report) {
    std::map<std::string, json> found;
    for (const json& op : report.at("operations")) {
      EXPECT_TRUE(found.emplace(op.at("operation"), op).second) << op;
    }
    return found;
  }
};

/// Names and families in the order of a step.
const std::vector<std::pair<std::string, std::string>> kStep = {
    {"embedding forward", "embedding_forward"},
    {"layer_norm forward", "layer_norm_forward"},
    {"c_attn forward", "matmul"},
    {"attention forward", "attention_forward"},
    {"attn.c_proj forward", "matmul"},
    {"c_fc forward", "matmul"},
    {"gelu forward", "gelu_forward"},
    {"mlp.c_proj forward", "matmul"},
    {"head forward", "matmul"},
    {"cross_entropy", "cross_entropy"},
    {"head backward_weight", "matmul"},
    {"head backward_input", "matmul"},
    {"mlp.c_proj backward_input", "matmul"},
    {"gelu backward_input", "gelu_backward_input"},
    {"c_fc backward_input", "matmul"},
    {"layer_norm backward_weight", "layer_norm_backward_weight"},
    {"layer_norm backward_input", "layer_norm_backward_input"},
    {"attn.c_proj backward_input", "matmul"},
    {"attention backward_input", "attention_backward_input"},
    {"c_attn backward_input", "matmul"},
    {"embedding backward_weight", "embedding_backward_weight"},
    {"mlp.c_proj backward_weight", "matmul"},
    {"mlp.c_proj column_sum", "column_sum"},
    {"c_fc backward_weight", "matmul"},
    {"c_fc column_sum", "column_sum"},
    {"attn.c_proj backward_weight", "matmul"},
    {"attn.c_proj column_sum", "column_sum"},
    {"c_attn backward_weight", "matmul"},
    {"c_attn column_sum", "column_sum"},
    {"accumulate", "accumulate"},
    {"sum_of_squares", "sum_of_squares"},
    {"adamw", "adamw"},
    {"attention decode", "attention_decode"},
    {"embedding forward, slice", "embedding_forward"},
    {"sum_parts forward", "sum_parts"},
    {"cross_entropy_statistics", "cross_entropy_statistics"},
    {"cross_entropy_of_slice", "cross_entropy_of_slice"},
    {"sum_parts backward_input", "sum_parts"},
    {"embedding backward_weight, slice", "embedding_backward_weight"}};

/// Rates, times and shares say the same.
void expect_consistent(const json& report) {
  const json& ceilings = report.at("ceilings");
  const double copy = ceilings.at("copy").at("bytes_per_second");
  const double product = ceilings.at("product").at("flops_per_second");
  EXPECT_GT(copy, 0.0);
  EXPECT_GT(product, 0.0);
  EXPECT_GT(report.at("ceilings_after").at("product").at("flops_per_second"), 0.0);
  EXPECT_DOUBLE_EQ(copy * ceilings.at("copy").at("seconds").get<double>(),
                   ceilings.at("copy").at("bytes").get<double>());
  for (const json& op : report.at("operations")) {
    SCOPED_TRACE(op);
    const double seconds = op.at("seconds");
    const double share = op.at("share");
    EXPECT_GE(op.at("repetitions"), 5);
    EXPECT_GT(seconds, 0.0);
    EXPECT_GT(share, 0.0);
    EXPECT_TRUE(std::isfinite(share));
    EXPECT_DOUBLE_EQ(op.at("bytes_per_second").get<double>() * seconds, op.at("bytes"));
    const bool by_product = op.at("of") == "product";
    EXPECT_DOUBLE_EQ(share, by_product ? op.at("flops_per_second").get<double>() / product
                                       : op.at("bytes_per_second").get<double>() / copy);
  }
}

/// Operands and results of `elements` elements of four bytes.
void expect_operation(const std::map<std::string, json>& found,
                      const std::string& name,
                      const std::string& shape,
                      double flops,
                      double elements) {
  SCOPED_TRACE(name);
  constexpr double kElementBytes = 4.0;
  ASSERT_TRUE(found.contains(name));
  EXPECT_EQ(found.at(name).at("shape"), shape);
  EXPECT_EQ(found.at(name).at("flops"), flops);
  EXPECT_EQ(found.at(name).at("bytes"), kElementBytes * elements);
}

TEST_F(BenchOps, MeasuresEveryOperationOfAStepOnce) {
  const CommandResult result = run(ops({"--json", "-"}));
  ASSERT_TRUE(succeeded(result));
  const json report = json::parse(result.out);
  EXPECT_EQ(report.at("device").at("threads"), 1);
  EXPECT_EQ(report.at("model").at("V"), 256);
  EXPECT_EQ(report.at("model").at("dtype"), "float32");
  EXPECT_EQ(report.at("model").at("tensor_ranks"), 2);
  std::vector<std::pair<std::string, std::string>> found;
  for (const json& op : report.at("operations")) {
    found.emplace_back(op.at("operation"), op.at("family"));
    const std::string family = op.at("family");
    const bool by_product =
        family == "matmul" || family == "attention_forward" || family == "attention_backward_input";
    EXPECT_EQ(op.at("of"), by_product ? "product" : "copy") << op;
  }
  EXPECT_EQ(found, kStep);
  expect_consistent(report);
}

TEST_F(BenchOps, FlopsAndBytesAreThoseOfTheShapes) {
  const CommandResult result = run(ops({"--json", "-"}));
  ASSERT_TRUE(succeeded(result));
  const std::map<std::string, json> found = by_name(json::parse(result.out));
  const auto expect = [&](const std::string& name, const std::string& shape, double flops,
                          double elements) {
    expect_operation(found, name, shape, flops, elements);
  };
  // x, W, y, bias; a residual where the model has one; what is accumulated is read and written.
  expect("c_attn forward", "64 x 96 x 32", 393216, 64 * 32 + 32 * 96 + 64 * 96 + 96);
  expect("mlp.c_proj forward", "64 x 32 x 128", 524288,
         64 * 128 + 128 * 32 + 64 * 32 + 64 * 32 + 32);
  expect("c_fc backward_input", "64 x 32 x 128", 524288, 64 * 128 + 32 * 128 + 64 * 32);
  expect("c_fc backward_weight", "32 x 128 x 64", 524288, 64 * 32 + 64 * 128 + 2 * 32 * 128);
  expect("head forward", "64 x 256 x 32", 1048576, 64 * 32 + 256 * 32 + 64 * 256);
  expect("head backward_weight", "256 x 32 x 64", 1048576, 64 * 256 + 64 * 32 + 2 * 256 * 32);
  expect("c_attn column_sum", "[64, 96]", 0, 64 * 96 + 2 * 96);
  // Two products of 16 x 16 x 16 for each of 4 x 2 heads, masked to half; five in its gradient.
  expect("attention forward", "[4, 16, 2, 16]", 65536, 4 * 64 * 32 + 64 * 2);
  expect("attention backward_input", "[4, 16, 2, 16]", 163840, 8 * 64 * 32 + 64 * 2);
  expect("attention decode", "[1, 16, 2, 16]", 2048, 2 * 16 * 32 + 2 * 32);
  expect("layer_norm forward", "[64, 32]", 0, 2 * 64 * 32 + 2 * 64 + 2 * 32);
  expect("layer_norm backward_input", "[64, 32]", 0, 4 * 64 * 32 + 2 * 64 + 32);
  expect("gelu backward_input", "[64, 128]", 0, 3 * 64 * 128);
  expect("cross_entropy", "[64, 256]", 0, 2 * 64 * 256 + 2 * 64);
  // Two tables, 4 blocks of 12 C^2 + 13 C, the last norm.
  constexpr int kParameters = 256 * 32 + 16 * 32 + 4 * (12 * 32 * 32 + 13 * 32) + 2 * 32;
  static_assert(kParameters == 59584);
  expect("adamw", "[59584]", 0, 7.0 * kParameters);
  expect("sum_of_squares", "[59584]", 0, kParameters);
}

TEST_F(BenchOps, OperationsOfTensorRanksHaveTheirShareOfTokensAndVocabulary) {
  const CommandResult result = run(ops({"--set", "parallel.tensor=4", "--set", "model.num_heads=4",
                                        "--set", "model.vocab_size=300", "--json", "-"}));
  ASSERT_TRUE(succeeded(result));
  const json report = json::parse(result.out);
  EXPECT_EQ(report.at("model").at("tensor_ranks"), 4);
  const std::map<std::string, json> found = by_name(report);
  // 16 of 64 tokens, and 80 of 300 rows of the vocabulary: a quarter, in multiples of 8.
  expect_operation(found, "embedding forward, slice", "[4, 16, 32]", 0, 2 * 64 * 32 + 16 * 32 + 64);
  expect_operation(found, "embedding backward_weight, slice", "[4, 16, 32]", 0,
                   3 * 64 * 32 + 2 * 16 * 32 + 64);
  // The parts and the sum; forward with bias and residual.
  expect_operation(found, "sum_parts forward", "[4, 16, 32]", 0, 6 * 16 * 32 + 32);
  expect_operation(found, "sum_parts backward_input", "[4, 16, 32]", 0, 5 * 16 * 32);
  expect_operation(found, "cross_entropy_statistics", "[64, 80]", 0, 64 * 80 + 64 + 3 * 64);
  expect_operation(found, "cross_entropy_of_slice", "[64, 80]", 0,
                   2 * 64 * 80 + 2 * 64 + 4 * 3 * 64);
  // The others are those of a rank that shares nothing.
  expect_operation(found, "head forward", "64 x 300 x 32", 2.0 * 64 * 300 * 32,
                   64 * 32 + 300 * 32 + 64 * 300);
}

TEST_F(BenchOps, MeasuresAdamwWithTheMomentsOfTheConfiguration) {
  const CommandResult result = run(ops({"--set", "optimizer.moments=bf16", "--json", "-"}));
  ASSERT_TRUE(succeeded(result));
  const std::map<std::string, json> found = by_name(json::parse(result.out));
  EXPECT_FALSE(found.contains("adamw"));
  const json& adamw = found.at("adamw, bf16 moments");
  EXPECT_EQ(adamw.at("family"), "adamw");
  EXPECT_EQ(adamw.at("bytes"), (3 * 4 + 4 * 2) * 59584);
}

TEST_F(BenchOps, LeavesOutWhatTheModelDoesNotRun) {
  const CommandResult result = run(ops(
      {"--set", "model.bias=false", "--set", "model.tie_embeddings=false", "--json", "ops.json"}));
  ASSERT_TRUE(succeeded(result));
  const json report = json::parse(read("ops.json"));
  std::set<std::string> families;
  for (const json& op : report.at("operations")) families.insert(op.at("family"));
  EXPECT_FALSE(families.contains("column_sum"));
  EXPECT_FALSE(families.contains("accumulate"));
  EXPECT_EQ(by_name(report).at("c_attn forward").at("bytes"), 4 * (64 * 32 + 32 * 96 + 64 * 96));
  // The table is there beside the file.
  EXPECT_NE(result.out.find("c_attn forward"), std::string::npos) << result.out;
}

TEST_F(BenchOps, ThePlainCommandPrintsATableOfADocumentedShape) {
  const CommandResult result = run({"bench", "ops", "--seconds", "0", "--threads", "2"});
  ASSERT_TRUE(succeeded(result));
  for (const std::string part :
       {"B 8, T 256, C 384, NH 6, V 256, 10.84 M parameters, float32; cpu, 2 threads", "operation ",
        "  GB/s  GFLOP/s  share  of\n", "c_attn forward ", "2048 x 1152 x 384",
        "\n  copy: ", "\n  product: ", "\n  after the last operation: copy ",
        "fit in the caches may exceed the copy's bandwidth"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part << "\n" << result.out;
  }
  EXPECT_NE(result.err.find("bench ops: copy "), std::string::npos) << result.err;
}

TEST_F(BenchOps, HasHelpWithAnExample) {
  const CommandResult result = run({"bench", "ops", "--help"});
  EXPECT_TRUE(succeeded(result));
  EXPECT_NE(result.out.find("  halfpipe bench ops configs/"), std::string::npos) << result.out;
  EXPECT_EQ(result.err, "");
  EXPECT_NE(run({"bench", "--help"}).out.find("ops "), std::string::npos);
}

TEST_F(BenchOps, RefusesWhatItCannotMean) {
  const auto refuse = [&](const Arguments& arguments, const std::vector<std::string>& parts) {
    EXPECT_TRUE(refused(run(arguments), 2, parts));
  };
  write("toy.yaml",
        "name: A toy\nmemory: 64 MiB\nmemory_rate: {bytes_per_second: 1.0e9, efficiency: 0.5}\n"
        "float32: {flops_per_second: 4.0e9, efficiency: 0.25}\n"
        "bf16: {flops_per_second: 8.0e9, efficiency: 0.25}\nattention: 1\n"
        "op_seconds: 1.0e-6\nproduct_seconds: 0\n"
        "ranks_per_machine: 8\n"
        "within_machine: {latency_seconds: 1.0e-4, bytes_per_second: 1.0e8, efficiency: 1}\n"
        "between_machines: {latency_seconds: 1.0e-4, bytes_per_second: 1.0e8, efficiency: 1}\n");
  refuse({"bench", "ops", "run.yaml", "--set", "device.threads_per_rank=null", "--set",
          "device.kind=modelled", "--set", "device.hardware=toy.yaml"},
         {"device.kind (modelled) computes nothing"});
  refuse({"bench", "ops", "absent.yaml"}, {"absent.yaml"});
  refuse({"bench", "ops", "run.yaml", "more.yaml"}, {"more.yaml"});
  refuse({"bench", "ops", "--set", "model.num_heads=2"}, {"--set", "config"});
  refuse(ops({"--set", "model.num_heads=3"}), {"model.hidden_size (32)", "model.num_heads (3)"});
  refuse({"bench", "ops", "--threads", "1025"}, {"--threads"});
  refuse({"bench", "ops", "--seconds", "nan"}, {"--seconds: (nan) must be a number from 0"});
  refuse({"bench", "ops", "--seconds", "-1"}, {"--seconds: (-1)"});
  refuse({"bench", "ops", "--json", ""}, {"--json: () must be a name"});
  refuse({"bench", "ops", "--steps", "3"}, {"--steps"});
  // The word belongs in front of what goes with it.
  refuse({"bench", "run.yaml", "ops"}, {"config means nothing before ops"});
  refuse({"bench", "--steps", "3", "ops"}, {"--steps means nothing before ops"});
  // Without it all is as it was.
  refuse({"bench"}, {"config is required"});
  refuse({"bench", "--steps", "3"}, {"config is required"});
}

}  // namespace
}  // namespace halfpipe::tools
