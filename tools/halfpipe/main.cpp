// SPDX-License-Identifier: Apache-2.0
// The `halfpipe` command: parses the command line, runs one subcommand, and is the only place that
// reports its failure.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>

#include "engine/runtime/agreement.h"
#include "kernels/core/error.h"
#include "parallel/schedule/schedule_error.h"
#include "tools/halfpipe/commands.h"
#include "tools/halfpipe/reported_error.h"

namespace {

constexpr int kUserError = 2;
constexpr int kFailure = 1;

int report(const char* message, int exit_code) {
  fmt::print(stderr, "halfpipe: error: {}\n", message);
  return exit_code;
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
  add_generate(app);
  add_evaluate(app);
  add_tokenize(app);
  add_inspect(app);
  add_config(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    return report(error.what(), kUserError);
  } catch (const ReportedError& error) {
    return error.exit_code();
  } catch (const halfpipe::Error& error) {
    return report(error.what(), error.exit_code());
  } catch (const halfpipe::schedule::ScheduleError& error) {
    return report(error.what(), kUserError);
  } catch (const std::exception& error) {
    return report(error.what(), kFailure);
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv);
}
