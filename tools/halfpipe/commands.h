// SPDX-License-Identifier: Apache-2.0
// The subcommands of `halfpipe`, one source file each. Every function adds its command to the
// application and runs it from the parser's callback; what goes wrong is thrown and reported by
// main.
#pragma once

#include <CLI/CLI.hpp>

namespace halfpipe::tools {

void add_train(CLI::App& app);
void add_generate(CLI::App& app);
void add_evaluate(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_inspect(CLI::App& app);
void add_config(CLI::App& app);
void add_plan(CLI::App& app);
void add_schedule(CLI::App& app);
void add_bench(CLI::App& app);

}  // namespace halfpipe::tools
