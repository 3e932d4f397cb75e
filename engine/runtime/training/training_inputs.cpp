// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/training_inputs.h"

#include <fmt/format.h>

#include "kernels/core/error.h"

namespace halfpipe::runtime {

namespace {

/// Found before the first step, and not at the first evaluation, hours later.
void check_lengths(const config::RunConfig& config, const data::Dataset& dataset) {
  const std::int64_t needed = config.model.seq_len + 1;
  const bool text = !config.data.text.empty();
  if (dataset.train->size() < needed) {
    throw ConfigError(
        fmt::format("{}: the training split has {} tokens; model.seq_len ({}) needs at least {}",
                    text ? "data.text" : "data.shards.train", dataset.train->size(),
                    config.model.seq_len, needed));
  }
  const std::int64_t validation = dataset.validation ? dataset.validation->size() : 0;
  if (config.train.evaluate_every > 0 && validation < needed) {
    throw ConfigError(fmt::format(
        "{}: the validation split has {} tokens; model.seq_len ({}) needs at least {}, or set "
        "train.evaluate_every to 0",
        text ? fmt::format("data.validation_fraction ({})", config.data.validation_fraction)
             : "data.shards.validation",
        validation, config.model.seq_len, needed));
  }
}

}  // namespace

data::Dataset open_training_data(config::RunConfig& config) {
  data::Dataset dataset = data::open_dataset(config.data);
  int& vocab_size = config.model.vocab_size;
  const int data_size = dataset.vocabulary.size();
  if (vocab_size == 0) vocab_size = data_size;
  if (vocab_size < data_size && dataset.vocabulary.has_text()) {
    throw ConfigError(fmt::format("model.vocab_size ({}): the data's vocabulary has {} tokens",
                                  vocab_size, data_size));
  }
  check_lengths(config, dataset);
  data::check_tokens(*dataset.train, vocab_size);
  if (dataset.validation) data::check_tokens(*dataset.validation, vocab_size);
  return dataset;
}

}  // namespace halfpipe::runtime
