// SPDX-License-Identifier: Apache-2.0
// The `halfpipe` command: parses the command line, runs one subcommand, and is the only place that
// reports its failure.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config/nearest_name.h"
#include "engine/runtime/ranks/agreement.h"
#include "kernels/core/error.h"
#include "parallel/transport/mpi_session.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/print_error.h"
#include "tools/halfpipe/reported_error.h"
#include "tools/halfpipe/run_ranks.h"

namespace {

constexpr int kUserError = 2;
constexpr int kFailure = 1;

/// Commands that start no ranks run once in each process of a launcher; the first one speaks for
/// all.
bool speaks_for_the_job() {
  if (!halfpipe::transport::launched_by_mpi()) return true;
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (const char* rank = std::getenv(name); rank != nullptr) return std::string_view(rank) == "0";
  }
  return true;
}

int report(std::string_view message, int exit_code) {
  if (speaks_for_the_job()) halfpipe::tools::print_error(message);
  return exit_code;
}

/// CLI11 says only that a command is missing; the user wants to see the word that is no command.
void check_command_word(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    if (command->get_name() == argv[1]) return;
    commands.push_back(command->get_name());
  }
  const auto nearest = halfpipe::config::nearest_name(argv[1], commands);
  throw halfpipe::ConfigError(
      fmt::format("{}: no such command; {}", argv[1],
                  nearest ? fmt::format("did you mean {}?", *nearest)
                          : fmt::format("the commands are {}", fmt::join(commands, ", "))));
}

/// A wrong command line, which all ranks of an MPI job have: one of them reports it.
int refuse_command_line(const std::string& message) {
  if (!halfpipe::transport::launched_by_mpi()) return report(message, kUserError);
  try {
    halfpipe::tools::run_ranks(std::nullopt, [&](halfpipe::transport::Transport& transport) {
      halfpipe::runtime::agree(transport, [&] { throw halfpipe::ConfigError(message); });
    });
  } catch (const halfpipe::tools::ReportedError& error) {
    return error.exit_code();
  } catch (const std::exception&) {
    return report(message, kUserError);  // no MPI to agree by
  }
  return kUserError;
}

int run(int argc, char** argv) {
  CLI::App app{
      "Halfpipe trains GPT-style transformers on a pipeline of ranks whose activation memory you "
      "choose.\n"
      "Exit codes: 0 success, 1 failure (the machine, a lost rank, a bug), 2 your input (its "
      "message names the key or "
      "file)."};
  app.name("halfpipe");
  app.set_version_flag("--version", "halfpipe " HALFPIPE_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  mpirun -n 4 halfpipe train configs/quickstart.yaml\n"
      "  halfpipe generate runs/quickstart --prompt 'template <' --tokens 200\n"
      "Each command has its own --help.");
  using namespace halfpipe::tools;
  add_train(app);
  add_plan(app);
  add_schedule(app);
  add_bench(app);
  add_generate(app);
  add_evaluate(app);
  add_tokenize(app);
  add_inspect(app);
  add_config(app);
  try {
    check_command_word(app, argc, argv);
  } catch (const halfpipe::ConfigError& error) {
    return refuse_command_line(error.what());
  }
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    return refuse_command_line(error.what());
  } catch (const ReportedError& error) {
    return error.exit_code();
  } catch (const std::exception& error) {
    if (std::ferror(stdout) != 0) return 0;  // fmt::print threw; main reports it
    const halfpipe::runtime::ErrorReport failure = halfpipe::runtime::report_of(error);
    return report(failure.message, failure.exit_code);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int exit_code = run(argc, argv);
  if (exit_code != 0) return exit_code;
  // What was printed may still be in memory, or lost: a script must not take half an answer for a
  // whole one.
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  return written ? 0 : report("standard output cannot be written", kFailure);
}
