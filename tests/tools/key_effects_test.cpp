// SPDX-License-Identifier: Apache-2.0
// Every key of the configuration changes something that a user can see: one small run without it,
// one with it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>
#include <sstream>

#include "engine/config/key_table.h"
#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

namespace fs = std::filesystem;

/// A run that has ended, seen from outside.
struct Outcome {
  fs::path folder;      // of the run's output
  std::string printed;  // by `train`
  std::string inspected;
};
using Observation = std::function<std::string(const Outcome&)>;

std::string file_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The values of a field in the records of an event: "0.001 0.001".
Observation column(const std::string& event, const std::string& field) {
  return [=](const Outcome& outcome) {
    std::string values;
    std::istringstream lines(file_text(outcome.folder / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const nlohmann::json record = nlohmann::json::parse(line);
      if (record.at("event") != event) continue;
      if (!values.empty()) values += ' ';
      values += record.at(field).dump();
    }
    return values;
  };
}

Observation printed(const std::string& pattern) {
  return [=](const Outcome& outcome) { return matches(outcome.printed, pattern); };
}
Observation inspected(const std::string& pattern) {
  return [=](const Outcome& outcome) { return matches(outcome.inspected, pattern); };
}

Observation losses() {
  return column("train", "loss");
}
Observation learning_rates() {
  return column("train", "lr");
}

std::string checkpoints(const Outcome& outcome) {
  std::string names;
  for (const std::string& name : checkpoint_names(outcome.folder)) names += name.substr(12) + " ";
  return names;
}

std::string tracks_of_the_timeline(const Outcome& outcome) {
  const fs::path path = outcome.folder / "trace.json";
  if (!fs::exists(path)) return "no file";
  std::set<int> named;
  std::set<int> used;
  const nlohmann::json timeline = nlohmann::json::parse(file_text(path));
  for (const nlohmann::json& event : timeline.at("traceEvents")) {
    (event.at("ph") == "M" ? named : used).insert(event.at("tid").get<int>());
  }
  return std::to_string(named.size()) + " tracks, " + std::to_string(used.size()) + " in use";
}

struct Effect {
  std::string key;
  std::string value;
  Observation observe;
  std::string expected = {};  // with the value; empty: anything else than without it
  Arguments beside = {};      // settings of both runs
  int num_ranks = 2;          // of the run with the value
};

void PrintTo(const Effect& effect, std::ostream* out) {
  *out << effect.key << "=" << effect.value;
}

std::vector<Effect> model_and_data() {
  const Arguments shards = {"data.text=null", "data.shards.train=tokens/train_*.bin",
                            "data.shards.validation=tokens/val_*.bin", "train.evaluate_every=3",
                            "train.evaluate_batches=1"};
  const Observation embedding = inspected(R"(transformer.wte.weight +(\[.*\]))");
  return {
      {"model.num_layers", "5", inspected(R"(transformer.h.4.mlp.c_fc.weight +(\[.*\]))"),
       "[32, 128]"},
      {"model.num_heads", "4", losses()},
      {"model.hidden_size", "16", embedding, "[256, 16]"},
      {"model.seq_len", "8", inspected(R"(transformer.wpe.weight +(\[.*\]))"), "[8, 32]"},
      {"model.vocab_size", "300", embedding, "[300, 32]"},
      {"model.bias", "false", losses()},
      {"model.tie_embeddings", "false", inspected(R"(lm_head.weight +(\[.*\]))"), "[256, 32]"},
      {"model.init_from", "first/checkpoints/latest", losses()},
      {"data.text", "other.txt", losses()},
      {"data.shards.train", "others/train_*.bin", losses(), "", shards},
      {"data.shards.validation", "others/val_*.bin", column("validation", "loss"), "", shards},
      {"data.vocabulary", "characters", embedding},
      {"data.validation_fraction",
       "0.3",
       column("validation", "tokens"),
       "",
       {"train.evaluate_every=3", "train.evaluate_batches=0"}},
  };
}

std::vector<Effect> training() {
  const Observation batches = printed(R"(\d+ micro-batches of \d+ sequences)");
  return {
      {"train.steps", "4", column("train", "step"), "1 2 3 4"},
      {"train.precision", "bf16", losses()},
      {"train.recompute", "full", printed(R"(memory, MiB[^\n]*\n  rank 0[^\n]*)")},
      {"train.micro_batch_size", "2", batches, "4 micro-batches of 2 sequences"},
      {"train.global_batch_size", "16", batches, "4 micro-batches of 4 sequences"},
      {"train.seed", "2", losses()},
      {"train.evaluate_every", "1", column("validation", "step"), "1 2 3"},
      // A global batch of 8 sequences of 16 tokens.
      {"train.evaluate_batches",
       "1",
       column("validation", "tokens"),
       "128",
       {"train.evaluate_every=3"}},
      {"optimizer.learning_rate", "0.002", learning_rates(), "0.002 0.002 0.002"},
      {"optimizer.min_learning_rate",
       "0.001",
       learning_rates(),
       "0.001 0.001 0.001",
       {"optimizer.schedule=linear"}},
      {"optimizer.schedule", "linear", learning_rates()},
      {"optimizer.warmup_steps", "2", learning_rates(), "0.0005 0.001 0.001"},
      {"optimizer.decay_fraction",
       "1",
       learning_rates(),
       "",
       {"optimizer.schedule=warmup-stable-decay"}},
      {"optimizer.beta1", "0.5", losses()},
      {"optimizer.beta2", "0.5", losses()},
      {"optimizer.epsilon", "0.001", losses()},
      {"optimizer.weight_decay", "0", losses()},
      {"optimizer.clip_grad_norm", "0.01", losses()},
      {"optimizer.moments", "bf16", losses()},
      {"optimizer.post_validation",
       "on",
       printed(R"(post-validation (.*) begun)"),
       "1 of 3 steps",  // the first is looked at, and nothing comes after the last
       {"optimizer.clip_grad_norm=0"}},
  };
}

std::string time_of_search(const Outcome& outcome) {
  const std::string seconds = printed(R"(found in (\S+) s)")(outcome);
  return std::stod(seconds) < 0.5 ? "short" : "long";
}

std::string improved_or_textbook(const Outcome& outcome) {
  const bool improved = outcome.printed.find("improved in") != std::string::npos;
  return improved ? "improved" : "textbook";
}

const Arguments kHardSearch = {"schedule.name=auto", "schedule.memory_limit=1.6 units",
                               "train.global_batch_size=64", "model.num_layers=8"};

std::vector<Effect> layout_and_surroundings() {
  return {
      {"parallel.pipeline", "4", printed(R"((\d+) pipeline ranks)"), "4", {}, 4},
      {"parallel.layers_per_stage", "[0, 1, 1, 2]", printed(R"(stage [03] +((\S+ )*\S+))"),
       "embedding blocks 2-3 head"},
      {"schedule.name", "1f1b", printed(R"(\nschedule +(\S+):)"), "1f1b"},
      {"schedule.num_chunks",
       "1",
       printed(R"(stage (\d+) )"),
       "0 1",
       {"schedule.name=interleaved"}},
      {"schedule.exact", "true", improved_or_textbook, "textbook"},
      {"schedule.memory_limit",
       "1.6 units",
       printed(R"(found in \S+ s for (?:\S+ to )?(\S+) MiB)"),
       "0.40",
       {"schedule.name=auto"}},
      {"schedule.objective",
       "span",
       printed(R"(stages per rank, (\S+) at most)"),
       "span",
       {"schedule.name=auto"}},
      // A search that does not reach its bound takes the second that it may take.
      {"schedule.search_seconds", "0", time_of_search, "short", kHardSearch},
      {"schedule.search_evaluations", "500", time_of_search, "short", kHardSearch},
      {"schedule.replan_after", "1", printed(R"(replan after (\d+) steps)"), "1"},
      {"device.threads_per_rank", "2", printed(R"((\d+) threads per rank)"), "2"},
      {"device.pin_threads", "true", printed(R"(threads per rank, each on (a CPU) of its own)"),
       "a CPU"},
      {"output.dir", "elsewhere",
       [](const Outcome& outcome) {
         return fs::exists(outcome.folder.parent_path() / "elsewhere") ? "made" : "not made";
       },
       "made"},
      {"output.checkpoint_every", "2", checkpoints, "2 3 "},
      {"output.asynchronous_checkpoints", "true", printed(R"(batch   (host copy)       total)"),
       "host copy"},
      {"output.keep", "1", checkpoints, "3 ", {"output.checkpoint_every=1"}},
      {"output.trace", "true", tracks_of_the_timeline, "2 tracks, 2 in use"},
  };
}

std::vector<Effect> all_effects() {
  std::vector<Effect> all = model_and_data();
  for (const auto& more : {training(), layout_and_surroundings()})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// Keys with one value so far (tests/engine/config shows that others are refused by name).
const std::set<std::string> kNoEffectYet = {"model.family", "optimizer.name"};
/// Modelled devices train nothing: bench_command_test shows what these change.
const std::set<std::string> kSeenByBench = {"device.kind", "device.hardware"};
/// data_parallel_test and mesh_test show what they change.
const std::set<std::string> kSeenOnMeshes = {"parallel.data", "parallel.tensor", "parallel.order",
                                             "parallel.gather_again", "optimizer.zero_stage"};
/// emulated_training_test shows what it changes.
const std::set<std::string> kSeenOnGpus = {
    "parallel.transport",        "debug.sync_kernels", "device.tune",
    "device.cuda_graphs",        "device.attention",   "device.fused_gelu",
    "device.fused_bias_gradient"};
/// What it changes needs a rank that stands still.
const std::string kTimeout = "debug.timeout_seconds";
/// What it changes needs weights that are no numbers.
const std::string kNotFinite = "optimizer.not_finite";

class KeyEffects : public CommandTest {
 protected:
  void SetUp() override {
    std::string other = read("text.txt");
    std::reverse(other.begin(), other.end());
    write("other.txt", other);
  }
  [[nodiscard]] static Arguments small() {
    return {"train.steps=3", "train.global_batch_size=8", "train.evaluate_every=0"};
  }
  [[nodiscard]] Outcome outcome_of(int num_ranks, const Arguments& settings) const {
    fs::remove_all(path("out"));
    const CommandResult result = run(train_local(num_ranks, small() + settings));
    EXPECT_TRUE(succeeded(result));
    const bool elsewhere = !fs::exists(path("out"));
    const CommandResult inspection = run({"inspect", elsewhere ? "elsewhere" : "out"});
    EXPECT_TRUE(succeeded(inspection));
    return {path("out"), result.out, inspection.out};
  }
};

class EveryKeyWithAnEffect : public KeyEffects, public testing::WithParamInterface<Effect> {};

TEST_P(EveryKeyWithAnEffect, ChangesWhatAUserSees) {
  const Effect& effect = GetParam();
  if (effect.key == "model.init_from") {
    ASSERT_TRUE(succeeded(run(train_local(1, small() + Arguments{"output.dir=first"}))));
  }
  if (effect.key.starts_with("data.shards")) {
    ASSERT_TRUE(succeeded(run({"tokenize", "text.txt", "--out", "tokens"})));
    ASSERT_TRUE(succeeded(run({"tokenize", "other.txt", "--out", "others"})));
  }
  const std::string without = effect.observe(outcome_of(2, effect.beside));
  const std::string with = effect.observe(
      outcome_of(effect.num_ranks, effect.beside + Arguments{effect.key + "=" + effect.value}));
  EXPECT_FALSE(with.empty());
  EXPECT_NE(with, without);
  if (!effect.expected.empty()) {
    EXPECT_EQ(with, effect.expected);
  }
}

INSTANTIATE_TEST_SUITE_P(KeyTable,
                         EveryKeyWithAnEffect,
                         testing::ValuesIn(all_effects()),
                         [](const testing::TestParamInfo<Effect>& tested) {
                           std::string name = tested.param.key;
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

TEST_F(KeyEffects, TheTimeoutEndsAJobThatStandsStill) {
  // Rank 0 writes its metrics into a pipe that nobody reads, and blocks for ever once it is full.
  fs::create_directories(path("out"));
  ASSERT_EQ(::mkfifo(path("out/metrics.jsonl").c_str(), S_IRUSR | S_IWUSR), 0);
  const int pipe = ::open(path("out/metrics.jsonl").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(pipe, 0);
  constexpr int kBytes = 4096;  // a dozen records
  ::fcntl(pipe, F_SETPIPE_SZ, kBytes);
  const Arguments settings = small() + Arguments{"train.steps=100000", kTimeout + "=1"};
  const CommandResult result = start(train_local(2, settings))->wait(20.0);
  ::close(pipe);
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("waited 1."), std::string::npos) << result.err;
}

TEST_F(KeyEffects, AStepThatIsNoNumberEndsTheJobOrIsLeftOut) {
  // The first step makes every weight so large that nothing can be computed with it.
  const Arguments settings = small() + Arguments{"optimizer.learning_rate=1e38"};
  for (const std::string early : {"on", "off"}) {
    SCOPED_TRACE(early);
    const Arguments same = settings + Arguments{"optimizer.post_validation=" + early};
    const auto into = [&](const std::string& name) {
      return Arguments{"output.dir=" + name + "-" + early};
    };
    const CommandResult stopped = run(train_local(2, same + into("stopped")));
    EXPECT_EQ(stopped.exit_code, 1);
    EXPECT_NE(stopped.err.find("step 2: the loss"), std::string::npos) << stopped.err;

    const Arguments skipping = same + Arguments{kNotFinite + "=skip"};
    const CommandResult skipped = run(train_local(2, skipping + into("skipped")));
    EXPECT_TRUE(succeeded(skipped));
    EXPECT_EQ(matches(skipped.out, R"(step (\d+) skipped: the loss)"), "2 3");

    const CommandResult given_up =
        run(train_local(2, skipping + into("given-up") + Arguments{"train.steps=20"}));
    EXPECT_EQ(given_up.exit_code, 1);
    EXPECT_NE(given_up.err.find("step 11: the loss"), std::string::npos) << given_up.err;
    EXPECT_NE(given_up.err.find("in 10 steps one after the other"), std::string::npos);
  }
}

TEST(KeyEffectsTable, HasEveryKeyOnce) {
  std::set<std::string> seen = kNoEffectYet;
  seen.insert({kTimeout, kNotFinite});
  seen.insert(kSeenOnMeshes.begin(), kSeenOnMeshes.end());
  seen.insert(kSeenByBench.begin(), kSeenByBench.end());
  seen.insert(kSeenOnGpus.begin(), kSeenOnGpus.end());
  for (const Effect& effect : all_effects())
    EXPECT_TRUE(seen.insert(effect.key).second) << effect.key << " is there twice";
  for (const config::KeyDoc& doc : config::key_docs())
    EXPECT_EQ(seen.erase(doc.path), 1U) << doc.path << ": no test shows what it changes";
  EXPECT_TRUE(seen.empty()) << *seen.begin() << " is no key";
}

}  // namespace
}  // namespace halfpipe::tools
