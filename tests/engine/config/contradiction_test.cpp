// SPDX-License-Identifier: Apache-2.0
// Keys that are right each by itself and contradict each other, or mean nothing beside each other.
#include "tests/engine/config/mistake.h"

namespace halfpipe::config {

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

}  // namespace halfpipe::config
