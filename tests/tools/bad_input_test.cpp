// SPDX-License-Identifier: Apache-2.0
// What users get wrong: one message of ours that names it, and the exit code that says whose fault
// it was. (tests/engine/config has the cases of single keys.)
#include <sys/stat.h>

#include <array>
#include <cstring>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

namespace fs = std::filesystem;

/// A shard of llm.c's format: 256 int32 of header, then 16-bit tokens.
std::string shard(std::int32_t magic,
                  std::int32_t version,
                  std::int32_t num_tokens,
                  std::size_t written) {
  std::string bytes(1024, '\0');
  const std::array<std::int32_t, 3> header = {magic, version, num_tokens};
  std::memcpy(bytes.data(), header.data(), sizeof(header));
  for (std::size_t i = 0; i < written; ++i) {
    bytes += static_cast<char>(i % 200);
    bytes += '\0';
  }
  return bytes;
}

/// A safetensors file with this header and 64 bytes of tensors.
std::string safetensors(const std::string& header) {
  std::string bytes(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + std::string(64, '\0');
}

struct BadInput {
  Arguments arguments;
  int exit_code;
  std::vector<std::string> parts;  // of the message
};

class BadInputTest : public CommandTest {
 protected:
  void expect_refused(const std::vector<BadInput>& cases) {
    for (const BadInput& bad : cases) {
      std::string line;
      for (const std::string& argument : bad.arguments) line += argument + " ";
      SCOPED_TRACE(line);
      EXPECT_TRUE(refused(run(bad.arguments), bad.exit_code, bad.parts));
      EXPECT_FALSE(fs::exists(path("out/metrics.jsonl"))) << "training has begun";
    }
  }
  /// A one-rank job with settings.
  [[nodiscard]] static Arguments job(const Arguments& settings) { return train_local(1, settings); }
  [[nodiscard]] static Arguments shard_job(const std::string& file) {
    return job({"data.text=null", "data.shards.train=" + file, "train.evaluate_every=0",
                "model.vocab_size=256"});
  }
};

TEST_F(BadInputTest, Configuration) {
  write("empty.yaml", "");
  write("large.yaml", std::string((1 << 20) + 1, '#'));
  ASSERT_EQ(::mkfifo(path("pipe.yaml").c_str(), S_IRUSR | S_IWUSR), 0);
  write("broken.yaml", "model: {num_layers: 4\ndata: ]");
  expect_refused({
      {{"train", "absent.yaml"}, 2, {"absent.yaml"}},
      {{"train", "/"}, 2, {"/"}},
      {{"train", "pipe.yaml"}, 2, {"pipe.yaml", "not a regular file"}},
      {{"config", "/dev/zero"}, 2, {"/dev/zero", "not a regular file"}},
      {{"config", "/proc/self/mem"}, 2, {"/proc/self/mem", "cannot be read"}},
      {{"config", "large.yaml"}, 2, {"large.yaml", "larger than 1 MiB"}},
      {{"train", "empty.yaml"}, 2, {"empty.yaml"}},
      {{"train", "broken.yaml"}, 2, {"broken.yaml:"}},
      {job({"train.stepps=3"}), 2, {"train.stepps", "train.steps"}},
      {job({"train.steps"}), 2, {"train.steps"}},
      {job({"parallel.layers_per_stage=[1, 1]"}), 2, {"parallel.layers_per_stage"}},
  });
}

TEST_F(BadInputTest, CapabilitiesThatDoNotExistYet) {
  for (const std::string setting :
       {"optimizer.name=muon", "train.precision=fp8", "model.family=llama"}) {
    const std::string key = setting.substr(0, setting.find('='));
    const std::string value = setting.substr(key.size() + 1);
    expect_refused({{job({setting}), 2, {key, value}}});
  }
}

// Of the environment; a setting of the configuration goes before it.
TEST_F(BadInputTest, ThreadsOfOpenMp) {
  for (const std::string threads : {"1e3", "many", "0", "-5", "70000", "99999999999"}) {
    options.environment["OMP_NUM_THREADS"] = threads;
    const std::string named = "OMP_NUM_THREADS (" + threads + ") must be";
    expect_refused({{job({"device.threads_per_rank=auto"}), 2, {named, "1 to 1024"}},
                    {{"plan", "run.yaml", "--set", "device.threads_per_rank=auto"}, 2, {named}}});
    EXPECT_TRUE(succeeded(run({"plan", "run.yaml"})));
  }
}

TEST_F(BadInputTest, Memory) {
  // Above any machine's, and below what the kernel would promise.
  expect_refused(
      {{job({"model.hidden_size=16777216", "model.num_heads=1"}), 1, {"out of memory"}}});
}

TEST_F(BadInputTest, Text) {
  write("empty.txt", "");
  write("short.txt", "too short");
  write("latin1.txt", "caf\xe9 " + read("text.txt"));
  fs::create_directory(path("nothing"));
  expect_refused({
      {job({"data.text=absent.txt"}), 2, {"data.text", "absent.txt"}},
      {job({"data.text=*.doc"}), 2, {"data.text", "*.doc"}},
      {job({"data.text=nothing"}), 2, {"data.text", "nothing"}},
      {job({"data.text=empty.txt"}), 2, {"data.text", "empty"}},
      {job({"data.text=short.txt"}), 2, {"data.text", "8 tokens", "17"}},
      {job({"data.text=latin1.txt", "data.vocabulary=characters"}), 2, {"latin1.txt", "UTF-8"}},
      {job({"data.validation_fraction=0.0001"}), 2, {"data.validation_fraction (0.0001)"}},
      {job({"data.validation_fraction=0.00001"}), 2, {"data.validation_fraction"}},
      {job({"data.vocabulary=absent.json"}), 2, {"absent.json"}},
      {job({"data.vocabulary=text.txt"}), 2, {"text.txt"}},
      {job({"data.vocabulary=characters", "model.vocab_size=5"}), 2, {"model.vocab_size (5)"}},
  });
}

TEST_F(BadInputTest, Shards) {
  write("magic.tok", shard(12345, 1, 500, 500));
  write("version.bin", shard(20240520, 9, 500, 500));
  write("cut.bin", shard(20240520, 1, 500, 300));
  write("odd.bin", std::string(1001, 'a'));
  write("nothing.bin", "");
  write("large.bin", std::string(2000, 'a'));  // token 24929, 1000 times
  expect_refused({
      {shard_job("absent_*.bin"), 2, {"data.shards.train", "absent_*.bin"}},
      {shard_job("magic.tok"), 2, {"magic.tok", "12345"}},
      {shard_job("version.bin"), 2, {"version.bin", "9"}},
      {shard_job("cut.bin"), 2, {"cut.bin", "500"}},
      {shard_job("odd.bin"), 2, {"odd.bin"}},
      {shard_job("nothing.bin"), 2, {"nothing.bin", "empty"}},
      {shard_job("large.bin"), 2, {"large.bin", "24929", "256"}},
  });
}

TEST_F(BadInputTest, RankCount) {
  const Arguments wants_four = train({"parallel.pipeline=4"});
  expect_refused({
      {wants_four + Arguments{"--local-ranks", "3"},
       2,
       {"parallel.pipeline (4)", "4 ranks", "has 3"}},
      {wants_four, 2, {"4 ranks", "has 1", "mpirun -n 4", "--local-ranks 4"}},
      {train({"parallel.pipeline=1"}) + Arguments{"--local-ranks", "2"}, 2, {"1 rank,", "has 2"}},
  });
}

TEST_F(BadInputTest, Output) {
  write("occupied/metrics.jsonl/file", "");
  write("taken/checkpoints", "a file");
  expect_refused({
      {job({"output.dir=text.txt/below"}), 2, {"output.dir (text.txt/below)"}},
      {job({"output.dir=text.txt"}), 2, {"output.dir (text.txt)"}},
      {job({"output.dir=taken"}), 2, {"output.dir (taken)"}},
      {job({"output.dir=occupied"}), 1, {"metrics.jsonl"}},
  });
}

TEST_F(BadInputTest, Resume) {
  fs::create_directory(path("nothing"));
  const auto resume = [&](const std::string& from) {
    return job({"output.dir=resumed"}) + Arguments{"--resume", from};
  };
  expect_refused({
      {resume("absent"), 2, {"absent"}},
      {resume("nothing"), 2, {"nothing"}},
      {resume("text.txt"), 2, {"text.txt"}},
  });
}

/// Commands that read a model.
class BadModelTest : public BadInputTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(succeeded(run(job({"output.dir=good", "train.steps=1", "schedule.name=1f1b",
                                   "data.vocabulary=characters"}))));
    // As another program would have left it: no manifest, no state of ours.
    for (const std::string name : {"config.json", "model.safetensors"})
      write("foreign/" + name, read("good/checkpoints/latest/" + name));
  }
  /// A copy of the foreign model with one file replaced.
  [[nodiscard]] std::string with(const std::string& name, const std::string& content) {
    std::string directory = "model-" + std::to_string(num_models_++);
    fs::copy(path("foreign"), path(directory));
    write(directory + "/" + name, content);
    return directory;
  }

 private:
  int num_models_ = 0;
};

TEST_F(BadModelTest, MalformedFiles) {
  const std::string whole = read("foreign/model.safetensors");
  const std::vector<std::string> contents = {
      "",
      "1234567",
      std::string(8, '\xff') + whole.substr(8),  // a header of 2^64 - 1 bytes
      whole.substr(0, 100),
      whole.substr(0, whole.size() - 4),
      safetensors("no JSON"),
      safetensors("[1, 2]"),
      safetensors(R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4000]}})"),
      safetensors(R"({"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 64]}})"),
      safetensors(R"({"a": {"dtype": "F33", "shape": [16], "data_offsets": [0, 64]}})"),
      safetensors(R"({"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}})")};
  for (const std::string& content : contents) {
    const std::string model = with("model.safetensors", content);
    expect_refused({
        {{"inspect", model}, 2, {model}},
        {job({"model.init_from=" + model, "data.vocabulary=characters"}), 2, {model}},
    });
  }
  const std::string broken = with("config.json", "{");
  const std::string other = with("config.json", R"({"model_type": "llama"})");
  expect_refused(
      {{{"inspect", broken}, 2, {"config.json"}}, {{"inspect", other}, 2, {"config.json"}}});
}

TEST_F(BadModelTest, AnotherShape) {
  const auto start = [&](const std::string& setting) {
    return job({"model.init_from=foreign", "data.vocabulary=characters", setting});
  };
  expect_refused({
      {start("model.num_layers=2"), 2, {"num_layers 4", "2"}},
      {start("model.hidden_size=16"), 2, {"hidden_size"}},
      {start("model.seq_len=32"), 2, {"seq_len"}},
      {start("data.vocabulary=bytes"), 2, {"vocab_size"}},
      {start("model.init_from=absent"), 2, {"absent"}},
      {start("model.init_from=text.txt"), 2, {"text.txt"}},
  });
}

TEST_F(BadModelTest, Commands) {
  write("one.txt", "l");
  write("greek.txt", "\xce\xb1\xce\xb2\xce\xb3");
  fs::create_directory(path("nothing"));
  expect_refused({
      {{"inspect", "absent"}, 2, {"absent"}},
      {{"inspect", "text.txt"}, 2, {"text.txt"}},
      {{"inspect", "nothing"}, 2, {"nothing"}},
      {{"evaluate", "good", "--text", "absent.txt"}, 2, {"absent.txt"}},
      {{"evaluate", "good", "--text", "one.txt"}, 2, {"one.txt"}},
      {{"evaluate", "good", "--text", "greek.txt"}, 2, {"greek.txt"}},
      {{"evaluate", "foreign", "--text", "text.txt"}, 2, {"foreign", "vocabulary"}},
      {{"generate", "foreign"}, 2, {"foreign", "vocabulary"}},
      {{"generate", "good", "--prompt", "\xce\xb1"}, 2, {"--prompt"}},
      {{"generate", "good", "--prompt", "\xff"}, 2, {"--prompt", "UTF-8"}},
      {{"generate", "good", "--prompt", ""}, 2, {"--prompt"}},
      {{"generate", "good", "--temperature", "-1"}, 2, {"--temperature"}},
      {{"tokenize", "absent.txt", "--out", "tokens"}, 2, {"absent.txt"}},
      {{"tokenize", "text.txt", "--out", "text.txt"}, 2, {"text.txt"}},
      {{"tokenize", "text.txt", "--out", "tokens", "--vocabulary", "absent"}, 2, {"absent"}},
  });
  EXPECT_FALSE(fs::exists(path("tokens/train_000000.bin")));
}

// Its vocabulary is its training text's.
TEST_F(BadModelTest, GenerateNeedsNoPromptWhateverTheVocabulary) {
  for (const std::string text : {"b a", "a\nb"}) {
    std::string corpus;
    for (int i = 0; i < 100; ++i) corpus += text;
    write("corpus.txt", corpus);
    fs::remove_all(path("small"));
    ASSERT_TRUE(succeeded(run(job({"output.dir=small", "train.steps=1", "schedule.name=1f1b",
                                   "data.text=corpus.txt", "data.vocabulary=characters"}))));
    const CommandResult result = run({"generate", "small", "--tokens", "1"});
    EXPECT_TRUE(succeeded(result));
    const char first = text == "b a" ? ' ' : '\n';
    ASSERT_EQ(result.out.size(), 3U) << result.out;
    EXPECT_EQ(result.out[0], first);
    EXPECT_TRUE(refused(run({"generate", "small", "--prompt", "x\ny"}), 2, {"--prompt", "U+0078"}));
  }
  EXPECT_TRUE(refused(run({"generate", "good", "--prompt", "\t"}), 2, {"U+0009 (\\t)"}));
}

TEST_F(BadModelTest, TokenizeDoesNotMixShards) {
  const Arguments tokenize = {"tokenize", "text.txt", "--out", "tokens"};
  ASSERT_TRUE(succeeded(run(tokenize)));
  expect_refused({{tokenize, 2, {"tokens"}}});
}

}  // namespace
}  // namespace halfpipe::tools
