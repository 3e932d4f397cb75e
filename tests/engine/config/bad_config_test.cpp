// SPDX-License-Identifier: Apache-2.0
// What users get wrong, and the one message that each mistake must give: where, which key, which
// value, which rule.
#include "engine/config/load_config.h"
#include "kernels/core/error.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

namespace halfpipe::config {
namespace {

struct Mistake {
  std::string name;
  std::string yaml;
  std::vector<std::string> settings;
  std::vector<std::string> expected;  // parts of the message, the first one its beginning
};

void PrintTo(const Mistake& mistake, std::ostream* out) {
  *out << mistake.name;
}

class BadConfig : public testing::TestWithParam<Mistake> {};

TEST_P(BadConfig, GivesOneMessageThatNamesPlaceKeyValueAndRule) {
  const Mistake& mistake = GetParam();
  try {
    static_cast<void>(parse_config(mistake.yaml, "run.yaml", mistake.settings));
    FAIL() << "accepted";
  } catch (const UserError& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.exit_code(), 2);
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_EQ(message.rfind(mistake.expected[0], 0), 0U) << message;
    for (const std::string& part : mistake.expected) {
      EXPECT_NE(message.find(part), std::string::npos) << message << "\nlacks: " << part;
    }
  }
}

std::string name_of(const testing::TestParamInfo<Mistake>& info) {
  return info.param.name;
}

// A right file of two lines, so that a line added below it is line 3.
const std::string kShards = "data:\n  shards: {train: t.bin, validation: v.bin}\n";
const std::string kGood = "data: {text: corpus.txt}\nmodel: {num_layers: 4}\n";

INSTANTIATE_TEST_SUITE_P(
    Yaml,
    BadConfig,
    testing::Values(
        Mistake{"Empty", "", {}, {"run.yaml: is empty", "data: {text: [FILE]}"}},
        Mistake{"OnlyComments", "# nothing\n", {}, {"run.yaml", "is empty"}},
        Mistake{"ListAtTheTop", "- a\n- b\n", {}, {"run.yaml:1: ", "map of sections", "a list"}},
        Mistake{"TextAtTheTop", "corpus.txt\n", {}, {"run.yaml:1: ", "map of sections"}},
        Mistake{"TabIndentation", "train:\n\tsteps: 3\n", {}, {"run.yaml:2: a tab indents"}},
        Mistake{"OpenBracket", "data: {text: [a\n", {}, {"run.yaml:", "broken YAML: "}},
        Mistake{"WrongIndentation",
                "train:\n  steps: 3\n seed: 1\n",
                {},
                {"run.yaml:3: broken YAML: "}},
        Mistake{"ColonInPlainText", kGood + "output: {dir: a: b}\n", {}, {"run.yaml:3: "}},
        Mistake{"SameKeyTwice",
                "train:\n  steps: 3\n  seed: 1\n  steps: 4\n",
                {},
                {"run.yaml:4: steps: set twice", "run.yaml:2"}},
        Mistake{"SameSectionTwice",
                kGood + "data: {text: other.txt}\n",
                {},
                {"run.yaml:3: data: set twice", "run.yaml:1"}},
        Mistake{"UnquotedGlob", "data:\n  text: *.txt\n", {}, {"run.yaml:2: ", "needs quotes"}},
        Mistake{"Anchor", "data: &x {text: a}\n", {}, {"run.yaml:1: ", "anchors"}},
        Mistake{"Tag", "train: {steps: !!int 3}\n", {}, {"run.yaml:1: ", "tags"}},
        Mistake{"SecondDocument", kGood + "---\ntrain: {}\n", {}, {"run.yaml:", "second YAML"}},
        Mistake{"KeyThatIsAList", "? [a, b]\n: 3\n", {}, {"run.yaml:1: ", "a key must be text"}},
        Mistake{"OpenQuote",
                kGood + "output:\n  dir: \"runs/x\n  keep: 2\n",
                {},
                {"run.yaml:4: the quote is never closed"}},
        Mistake{"OpenQuoteClosedByTheNextOne",
                kGood + "output: {dir: \"x}\ntrain: {precision: \"float32\"}\n",
                {},
                {"run.yaml:3: the quote is never closed"}},
        Mistake{"OpenSingleQuote",
                kGood + "output: {dir: 'it''s}\n",
                {},
                {"run.yaml:3: the quote is never closed"}},
        Mistake{"OpenQuoteAtTheEnd",
                kGood + "output: {dir: \"a\\\"",
                {},
                {"run.yaml:3: the quote is never closed"}},
        Mistake{"OpenQuoteOfASetting",
                kGood,
                {"output.dir=\"x"},
                {"--set output.dir=\"x: the quote is never closed"}},
        Mistake{"ZeroByte", std::string("data:\0", 6), {}, {"run.yaml:1: ", "zero byte"}},
        // yaml-cpp would end the file here.
        Mistake{"ControlCharacter", kGood + "\x04", {}, {"run.yaml:3: ", "0x04"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    UnknownKeys,
    BadConfig,
    testing::Values(
        Mistake{"Misspelt",
                kGood + "train:\n  micro_batch_sise: 4\n",
                {},
                {"run.yaml:4: train.micro_batch_sise: unknown key; did you mean "
                 "train.micro_batch_size?"}},
        Mistake{"MisspeltSection",
                kGood + "trian: {steps: 4}\n",
                {},
                {"run.yaml:3: trian: unknown key; did you mean train?"}},
        Mistake{"WrongSection",
                kGood + "train: {dir: out}\n",
                {},
                {"run.yaml:3: train.dir: unknown key; did you mean output.dir?"}},
        Mistake{"WithoutSection",
                kGood + "steps: 4\n",
                {},
                {"run.yaml:3: steps: unknown key; did you mean train.steps?"}},
        Mistake{"MisspeltInWrongSection",
                kGood + "train: {learning_rat: 1e-3}\n",
                {},
                {"run.yaml:3: train.learning_rat: ", "did you mean optimizer.learning_rate?"}},
        Mistake{"NothingNear",
                kGood + "schedule: {wavelength: 4}\n",
                {},
                {"run.yaml:3: schedule.wavelength: unknown key; section schedule has name, "
                 "num_chunks, exact, memory_limit, objective, search_seconds, search_evaluations"}},
        Mistake{"NoSuchSection",
                kGood + "wavelength: {a: 4}\n",
                {},
                {"run.yaml:3: wavelength: unknown key; the sections are model, data, train"}},
        Mistake{"InShards",
                "data: {shards: {trian: x.bin}}\n",
                {},
                {"run.yaml:1: data.shards.trian: unknown key; did you mean data.shards.train?"}},
        Mistake{"BelowAValue",
                kGood,
                {"train.steps.max=3"},
                {"--set train.steps.max=3: train.steps.max: unknown key"}},
        Mistake{"DottedName", kGood + "train.steps: 5\n", {}, {"run.yaml:3: ", "no dots"}},
        Mistake{"Set",
                kGood,
                {"train.stepz=4"},
                {"--set train.stepz=4: train.stepz: unknown key; did you mean train.steps?"}},
        Mistake{"SetMisspeltSection",
                kGood,
                {"trian.steps=4"},
                {"--set trian.steps=4: ", "did you mean train.steps?"}},
        Mistake{"SetToNull", kGood, {"train.stepz=null"}, {"--set train.stepz=null: ", "unknown"}},
        Mistake{"SetWithoutValue", kGood, {"train.steps"}, {"--set train.steps: needs the form"}},
        Mistake{"SetWithoutKey", kGood, {"=4"}, {"--set =4: ", "unknown key"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Types,
    BadConfig,
    testing::Values(
        Mistake{"Word",
                kGood + "train:\n  seed: 1\n  steps: many\n",
                {},
                {"run.yaml:5: train.steps (many) must be a whole number"}},
        Mistake{"Fraction",
                kGood,
                {"train.steps=2.5"},
                {"--set train.steps=2.5: train.steps (2.5) must be a whole number"}},
        Mistake{"ExponentInAWholeNumber", kGood, {"train.steps=1e3"}, {"--set", "whole number"}},
        Mistake{"NumberInQuotes",
                kGood + "train: {steps: \"5\"}\n",
                {},
                {"run.yaml:3: train.steps (\"5\") must be a whole number"}},
        Mistake{
            "NoValue", kGood + "train:\n  steps:\n", {}, {"run.yaml:4: train.steps has no value"}},
        Mistake{"ListForANumber",
                kGood + "train: {steps: [1, 2]}\n",
                {},
                {"run.yaml:3: train.steps (a list) must be a whole number"}},
        Mistake{"SectionForANumber",
                kGood + "train: {steps: {max: 2}}\n",
                {},
                {"run.yaml:3: train.steps (a section) must be a whole number"}},
        Mistake{"NumberForASection",
                kGood + "train: 5\n",
                {},
                {"run.yaml:3: train (5) must be a section of keys and values"}},
        Mistake{"ListForASection", kGood + "train: [5]\n", {}, {"run.yaml:3: train (a list)"}},
        Mistake{"SettingBelowANumber",
                kGood + "train: 5\n",
                {"train.steps=3"},
                {"run.yaml:3: train (5) must be a section"}},
        Mistake{"WordForABool",
                kGood + "output: {trace: yes}\n",
                {},
                {"run.yaml:3: output.trace (yes) must be true or false"}},
        Mistake{"WordForARealNumber",
                kGood,
                {"optimizer.beta1=high"},
                {"--set", "optimizer.beta1 (high) must be a number"}},
        Mistake{"NumberWithAUnit",
                kGood,
                {"debug.timeout_seconds=5s"},
                {"--set", "debug.timeout_seconds (5s) must be a number"}},
        Mistake{"MapForText", "data: {text: {a: b}}\n", {}, {"run.yaml:1: data.text (a section)"}},
        Mistake{"EmptyText", kGood, {"output.dir="}, {"--set output.dir=: output.dir ()", "empty"}},
        Mistake{"EmptyList", "data: {text: []}\n", {}, {"run.yaml:1: data.text", "at least one"}},
        Mistake{"LineBreakInText",
                kGood + "output: {dir: \"a\\nb\"}\n",
                {},
                {"run.yaml:3: output.dir (\"a?b\")", "control characters"}},
        Mistake{"BrokenYamlInSet",
                kGood,
                {"data.text=[a"},
                {"--set data.text=[a: ", "bracket left open"}},
        Mistake{"WordInLayers",
                kGood,
                {"parallel.layers_per_stage=[2, x]"},
                {"--set", "parallel.layers_per_stage (x) must be a whole number"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Ranges,
    BadConfig,
    testing::Values(
        Mistake{"NegativeSize",
                kGood + "train: {micro_batch_size: -4}\n",
                {},
                {"run.yaml:3: train.micro_batch_size (-4) must be from 1 to "}},
        Mistake{"ZeroSteps",
                kGood,
                {"train.steps=0"},
                {"--set train.steps=0: train.steps (0) must be at least 1"}},
        Mistake{"ZeroHeads", kGood, {"model.num_heads=0"}, {"--set", "model.num_heads (0)"}},
        Mistake{"ZeroLayers", kGood, {"model.num_layers=0"}, {"--set", "model.num_layers (0)"}},
        Mistake{"ZeroVocabulary",
                kGood,
                {"model.vocab_size=0"},
                {"--set", "model.vocab_size (0) must be auto, or from 1 to "}},
        Mistake{"ZeroRanks", kGood, {"parallel.pipeline=0"}, {"--set", "parallel.pipeline (0)"}},
        Mistake{"ZeroThreads",
                kGood,
                {"device.threads_per_rank=0"},
                {"--set", "device.threads_per_rank (0) must be auto, or from 1 to "}},
        Mistake{"BeyondAnInt",
                kGood,
                {"model.hidden_size=99999999999"},
                {"--set", "model.hidden_size (99999999999) must be from 1 to "}},
        Mistake{
            "BeyondAnyNumber",
            kGood,
            {"train.steps=99999999999999999999"},
            {"--set", "train.steps (99999999999999999999) must be from 1 to 9223372036854775807"}},
        Mistake{"NegativeSeed",
                kGood,
                {"train.seed=-1"},
                {"--set train.seed=-1: train.seed (-1) must be from 0 to 18446744073709551615"}},
        Mistake{
            "SeedBeyond64Bits",
            kGood,
            {"train.seed=18446744073709551616"},
            {"--set", "train.seed (18446744073709551616) must be from 0 to 18446744073709551615"}},
        Mistake{"KeepBeyondAnInt",
                kGood,
                {"output.keep=99999999999"},
                {"--set", "output.keep (99999999999) must be from 0 to 2147483647"}},
        Mistake{"TooManyThreads",
                kGood,
                {"device.threads_per_rank=1025"},
                {"--set", "device.threads_per_rank (1025) must be auto, or from 1 to 1024"}},
        Mistake{"ZeroLearningRate",
                kGood,
                {"optimizer.learning_rate=0"},
                {"--set", "optimizer.learning_rate (0) must be above 0"}},
        Mistake{"InfiniteLearningRate",
                kGood,
                {"optimizer.learning_rate=inf"},
                {"--set", "optimizer.learning_rate (inf) must be a finite number"}},
        Mistake{
            "YamlInfinity", kGood + "optimizer: {epsilon: .inf}\n", {}, {"run.yaml:3: ", "(.inf)"}},
        Mistake{"NotANumber",
                kGood,
                {"optimizer.weight_decay=nan"},
                {"--set", "optimizer.weight_decay (nan) must be a finite number"}},
        Mistake{"RealBeyondADouble",
                kGood,
                {"optimizer.weight_decay=1e999"},
                {"--set", "optimizer.weight_decay (1e999) must be a finite number"}},
        Mistake{"BetaOfOne",
                kGood,
                {"optimizer.beta2=1.0"},
                {"--set", "optimizer.beta2 (1) must be at least 0 and below 1"}},
        Mistake{"NegativeClipping",
                kGood,
                {"optimizer.clip_grad_norm=-1"},
                {"--set", "optimizer.clip_grad_norm (-1) must be at least 0"}},
        Mistake{"WholeTextForValidation",
                kGood,
                {"data.validation_fraction=1"},
                {"--set", "data.validation_fraction (1) must be at least 0 and below 1"}},
        Mistake{"DecayFractionOfZero",
                kGood,
                {"optimizer.decay_fraction=0"},
                {"--set", "optimizer.decay_fraction (0) must be above 0 and at most 1"}},
        Mistake{"NegativeTimeout", kGood, {"debug.timeout_seconds=-1"}, {"--set", "at least 0"}},
        Mistake{"NegativeKeep", kGood, {"output.keep=-1"}, {"--set", "output.keep (-1)"}},
        Mistake{"NegativeLayers",
                kGood,
                {"parallel.layers_per_stage=[-1, 5]"},
                {"--set", "parallel.layers_per_stage ([-1, 5]) must be"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    BetweenKeys,
    BadConfig,
    testing::Values(
        Mistake{"HiddenSizeNotDivisibleByHeads",
                "data: {text: a}\nmodel:\n  num_heads: 3\n  hidden_size: 10\n",
                {},
                {"run.yaml:4: model.hidden_size (10) must be a multiple of model.num_heads (3)"}},
        Mistake{"SetIsToBlame",
                "data: {text: a}\nmodel:\n  num_heads: 2\n  hidden_size: 10\n",
                {"model.num_heads=3"},
                {"--set model.num_heads=3: model.hidden_size (10) must be a multiple of"}},
        Mistake{"GlobalBatch",
                kGood + "train: {global_batch_size: 30}\n",
                {},
                {"run.yaml:3: train.global_batch_size (30) must be a multiple of "
                 "train.micro_batch_size (4)"}},
        Mistake{"MicroBatchesBeyondReason",
                kGood,
                {"train.global_batch_size=16777216"},
                {"--set train.global_batch_size=16777216: train.global_batch_size (16777216) / "
                 "train.micro_batch_size (4) make 4194304 micro-batches; with 2 stages on "
                 "parallel.pipeline (1) ranks a step is 25165824 passes (3 x stages x "
                 "micro-batches), and a plan has at most 16777216"}},
        Mistake{"MicroBatchesBeyondReasonToSearch",
                kGood,
                {"schedule.name=auto", "parallel.pipeline=2", "train.global_batch_size=16777216"},
                {"--set train.global_batch_size=16777216: ", "25165824 passes"}},
        Mistake{"RanksBeyondReason",
                kGood,
                {"parallel.pipeline=65536"},
                {"--set parallel.pipeline=65536: parallel.pipeline (65536) ranks with 2 stages "
                 "each make 131072 stages; a plan has at most 8192"}},
        Mistake{"ChunksBeyondReason",
                kGood,
                {"schedule.name=interleaved", "schedule.num_chunks=65536"},
                {"--set schedule.num_chunks=65536: ", "make 65536 stages; a plan has at most"}},
        Mistake{"NoData", "model: {num_layers: 2}\n", {}, {"run.yaml: data.text or data.shards"}},
        Mistake{"TextAndShards",
                "data:\n  text: a.txt\n  shards: {train: t.bin, validation: v.bin}\n",
                {},
                {"run.yaml:3: data.text and data.shards are both set; exactly one"}},
        Mistake{"CharactersOfShards",
                "data:\n  vocabulary: characters\n  shards: {train: t.bin, validation: v.bin}\n",
                {},
                {"run.yaml:2: data.vocabulary (characters) must be a vocabulary file or absent"}},
        Mistake{"ShardsWithoutTraining",
                "data: {shards: {validation: v.bin}}\n",
                {},
                {"run.yaml:1: data.shards.train is missing"}},
        Mistake{"ShardsWithoutValidation",
                "data: {shards: {train: t.bin}}\n",
                {},
                {"run.yaml:1: data.shards.validation is missing", "train.evaluate_every (100)"}},
        Mistake{"EvaluationWithoutData",
                "data: {text: a, validation_fraction: 0}\n",
                {},
                {"run.yaml:1: data.validation_fraction (0) must be above 0"}},
        Mistake{"BytesInASmallVocabulary",
                kGood,
                {"model.vocab_size=255"},
                {"--set", "model.vocab_size (255) must be at least 256"}},
        Mistake{"MinimumAboveLearningRate",
                kGood + "optimizer: {learning_rate: 1.0e-5}\n",
                {},
                {"run.yaml:3: optimizer.min_learning_rate (6e-05) must be at most "
                 "optimizer.learning_rate (1e-05)"}},
        Mistake{"WarmupLongerThanTheRun",
                kGood + "optimizer: {warmup_steps: 100}\n",
                {"train.steps=50"},
                {"--set train.steps=50: optimizer.warmup_steps (100) must be at most "
                 "train.steps (50)"}},
        Mistake{"LayersDoNotSumUp",
                kGood + "parallel: {pipeline: 2, layers_per_stage: [1, 1, 1, 2]}\n",
                {},
                {"run.yaml:3: parallel.layers_per_stage sums to 5 and must sum to "
                 "model.num_layers (4)"}},
        Mistake{"LayersForTooFewStages",
                kGood + "parallel: {pipeline: 2, layers_per_stage: [2, 2]}\n",
                {},
                {"run.yaml:3: parallel.layers_per_stage has 2 numbers and must have 4", "v-half"}},
        Mistake{"LayersForTooManyStages",
                kGood + "parallel: {pipeline: 2, layers_per_stage: [1, 1, 1, 1]}\n",
                {"schedule.name=1f1b"},
                {"--set schedule.name=1f1b: ", "has 4 numbers and must have 2"}},
        Mistake{"ChunksOfANonInterleavedSchedule",
                kGood + "schedule: {name: v-half, num_chunks: 3}\n",
                {},
                {"run.yaml:3: schedule.num_chunks (3) has a meaning with schedule.name "
                 "interleaved only"}},
        Mistake{"ChunksAtTheirDefaultToo",
                kGood,
                {"schedule.num_chunks=2"},
                {"--set schedule.num_chunks=2: schedule.num_chunks (2) has a meaning"}},
        Mistake{"FractionOfShards",
                kShards + "  validation_fraction: 0.1\n",
                {},
                {"run.yaml:3: data.validation_fraction (0.1) has a meaning with data.text only; "
                 "data.text is null"}},
        Mistake{"BytesOfShards",
                kShards + "  vocabulary: bytes\n",
                {},
                {"run.yaml:3: data.vocabulary (bytes) has a meaning with data.text only"}},
        Mistake{"MinimumOfAConstantLearningRate",
                kGood + "optimizer: {schedule: constant}\n",
                {"optimizer.min_learning_rate=1e-5"},
                {"--set optimizer.min_learning_rate=1e-5: optimizer.min_learning_rate (1e-05) has "
                 "a meaning with an optimizer.schedule that decays only; optimizer.schedule is "
                 "constant"}},
        Mistake{"DecayFractionOfCosine",
                kGood + "optimizer: {decay_fraction: 0.2}\n",
                {},
                {"run.yaml:3: optimizer.decay_fraction (0.2) has a meaning with "
                 "optimizer.schedule warmup-stable-decay only; optimizer.schedule is cosine"}},
        Mistake{"BatchesOfNoEvaluation",
                kGood + "train: {evaluate_every: 0, evaluate_batches: 4}\n",
                {},
                {"run.yaml:3: train.evaluate_batches (4) has a meaning with "
                 "train.evaluate_every above 0 only; train.evaluate_every is 0"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    NotYet,
    BadConfig,
    testing::Values(
        Mistake{"DataParallel",
                kGood + "parallel: {data: 2}\n",
                {},
                {"run.yaml:3: parallel.data (2): data parallelism does not exist in this version; "
                 "use 1"}},
        Mistake{"TensorParallel", kGood, {"parallel.tensor=2"}, {"--set", "tensor parallelism"}},
        Mistake{"ScheduleUnknown",
                kGood,
                {"schedule.name=v-halv"},
                {"--set schedule.name=v-halv: schedule.name (v-halv) must be one of gpipe, 1f1b, "
                 "1f1b-v, "
                 "interleaved, zb-1p, zb-2p, v-min, v-half, v-zb, w4, auto; did you mean v-half?"}},
        Mistake{"MemoryLimitWithoutMeasure",
                kGood,
                {"schedule.name=auto", "schedule.memory_limit=5"},
                {"--set schedule.memory_limit=5: schedule.memory_limit (5) must be a number with "
                 "its measure: bytes (512 MiB;",
                 "4.5 units", "60%"}},
        Mistake{"MemoryLimitsOfTooFewRanks",
                kGood + "parallel: {pipeline: 4}\nschedule: {name: auto, memory_limit: [60%]}\n",
                {},
                {"run.yaml:4: schedule.memory_limit has 1 entries and must have one for each of "
                 "parallel.pipeline (4) ranks, or be one for all of them"}},
        Mistake{"MemoryLimitsOfTooManyRanks",
                kGood + "schedule: {name: auto, memory_limit: [60%, 1 GiB, 2 units]}\n",
                {"parallel.pipeline=2"},
                {"--set parallel.pipeline=2: schedule.memory_limit has 3 entries",
                 "parallel.pipeline (2)"}},
        Mistake{"MemoryLimitOfOneRankWithoutMeasure",
                kGood,
                {"parallel.pipeline=2", "schedule.name=auto", "schedule.memory_limit=[60%, 5]"},
                {"--set schedule.memory_limit=[60%, 5]: schedule.memory_limit (5) of rank 1 must "
                 "be a number with its measure: bytes (512 MiB;"}},
        Mistake{"NoMemoryLimits",
                kGood,
                {"schedule.name=auto", "schedule.memory_limit=[]"},
                {"--set", "schedule.memory_limit (a list) must be a list of at least one text"}},
        Mistake{"MemoryLimitsOfNoRank",
                kGood,
                {"schedule.name=auto", "schedule.memory_limit={0: 60%}"},
                {"--set", "schedule.memory_limit (a section) must be text or a list of text"}},
        Mistake{
            "MemoryLimitOfANamedSchedule",
            kGood,
            {"schedule.memory_limit=2GiB"},
            {"--set", "schedule.memory_limit (2GiB) has a meaning with schedule.name auto only"}},
        Mistake{
            "ObjectiveOfANamedSchedule",
            kGood,
            {"schedule.name=1f1b", "schedule.objective=span"},
            {"--set",
             "schedule.objective (span) has a meaning with schedule.name auto, or 1f1b-v, v-min, "
             "v-half or w4 without schedule.exact only; schedule.name is 1f1b"}},
        Mistake{"SearchOfATextbookOrder",
                kGood,
                {"schedule.exact=true", "schedule.search_seconds=2"},
                {"--set",
                 "schedule.search_seconds (2) has a meaning with schedule.name auto, or 1f1b-v, "
                 "v-min, v-half or w4 without schedule.exact only; schedule.name is v-half, "
                 "schedule.exact is true"}},
        Mistake{"ExactWhereNothingIsImproved",
                kGood,
                {"schedule.name=zb-1p", "schedule.exact=true"},
                {"--set", "schedule.exact (true) has a meaning with schedule.name 1f1b-v, v-min"}},
        Mistake{"ObjectiveUnknown",
                kGood,
                {"schedule.name=auto", "schedule.objective=time"},
                {"--set", "schedule.objective (time) must be one of makespan, span"}},
        Mistake{"SearchSecondsNegative",
                kGood,
                {"schedule.name=auto", "schedule.search_seconds=-1"},
                {"--set", "schedule.search_seconds (-1) must be at least 0"}},
        Mistake{
            "LayersOfASearchNotAMultipleOfRanks",
            kGood,
            {"schedule.name=auto", "parallel.pipeline=2", "parallel.layers_per_stage=[1, 1, 1]"},
            {"--set",
             "parallel.layers_per_stage has 3 numbers and must have a multiple of "
             "parallel.pipeline (2)"}},
        Mistake{"ZeroStage",
                kGood,
                {"optimizer.zero_stage=1"},
                {"--set", "optimizer.zero_stage (1): an optimizer sharded"}},
        Mistake{"PostValidation", kGood, {"optimizer.post_validation=on"}, {"--set", "(on): "}},
        Mistake{"OtherOptimizer", kGood, {"optimizer.name=sgd"}, {"--set", "optimizer.name (sgd)"}},
        Mistake{"Cuda", kGood, {"device.kind=cuda"}, {"--set", "the CUDA backend does not exist"}},
        Mistake{
            "Modelled", kGood, {"device.kind=modelled"}, {"--set", "device.hardware is missing"}},
        Mistake{"NoStepLeftForAnotherPlan",
                kGood,
                {"schedule.name=v-half", "train.steps=10", "schedule.replan_after=10"},
                {"--set", "schedule.replan_after (10) must be below train.steps (10)"}},
        Mistake{"HardwareOfNoModel",
                kGood,
                {"device.hardware=a.yaml"},
                {"--set", "device.hardware (a.yaml) has a meaning with device.kind modelled only"}},
        Mistake{"ThreadsOfAModel",
                kGood,
                {"device.kind=modelled", "device.hardware=a.yaml", "device.threads_per_rank=2"},
                {"--set", "device.threads_per_rank (2) has a meaning with device.kind cpu only"}},
        Mistake{"NoHardwareFile",
                kGood,
                {"device.kind=modelled", "device.hardware=absent.yaml"},
                {"device.hardware: absent.yaml: no such hardware profile file"}},
        Mistake{"UnknownDevice",
                kGood,
                {"device.kind=gpu"},
                {"--set", "(gpu) must be one of cpu, modelled"}},
        Mistake{"Precision", kGood, {"train.precision=bfloat16"}, {"--set", "mixed precision"}},
        Mistake{"Recompute", kGood, {"train.recompute=full"}, {"--set", "recomputation"}},
        Mistake{"Family", kGood, {"model.family=llama"}, {"--set", "(llama) must be gpt2"}},
        Mistake{"LearningRateSchedule",
                kGood,
                {"optimizer.schedule=cosin"},
                {"--set", "optimizer.schedule (cosin) must be one of", "did you mean cosine?"}}),
    name_of);

}  // namespace
}  // namespace halfpipe::config
