// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training_inputs.h"

#include <fmt/format.h>

#include "kernels/core/error.h"

namespace halfpipe::runtime {

data::Dataset open_training_data(config::RunConfig& config) {
  data::Dataset dataset = data::open_dataset(config.data);
  int& vocab_size = config.model.vocab_size;
  const int data_size = dataset.vocabulary.size();
  if (vocab_size == 0) vocab_size = data_size;
  if (vocab_size < data_size && dataset.vocabulary.has_text()) {
    throw ConfigError(fmt::format("model.vocab_size ({}): the data's vocabulary has {} tokens",
                                  vocab_size, data_size));
  }
  data::check_tokens(*dataset.train, vocab_size);
  if (dataset.validation) data::check_tokens(*dataset.validation, vocab_size);
  return dataset;
}

}  // namespace halfpipe::runtime
