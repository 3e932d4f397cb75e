// SPDX-License-Identifier: Apache-2.0
// halfpipe config: checks a configuration and prints it with every default filled in.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/config/config_to_yaml.h"
#include "engine/config/key_table.h"
#include "engine/config/load_config.h"
#include "kernels/core/error.h"
#include "tools/halfpipe/commands.h"

namespace halfpipe::tools {

namespace {

struct Options {
  std::string config;
  std::vector<std::string> settings;
  std::string key;
};

std::string value_of(const config::RunConfig& run, const std::string& path) {
  for (const config::Key& key : config::key_table()) {
    if (key.doc.path == path) return key.write(run);
  }
  throw ConfigError("--get " + path + ": unknown key");
}

void show(const Options& options) {
  const config::RunConfig run = config::load_config(options.config, options.settings);
  fmt::print("{}", options.key.empty() ? config::to_yaml(run) : value_of(run, options.key) + "\n");
}

}  // namespace

void add_config(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "config", "Check a configuration and print it with every default filled in");
  const auto options = std::make_shared<Options>();
  command->add_option("config", options->config, "YAML file")->required();
  command->add_option("--set", options->settings, "section.key=value; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--get", options->key, "Print the value of one key only, for scripts");
  command->footer(
      "Examples:\n"
      "  halfpipe config configs/quickstart.yaml\n"
      "  halfpipe config configs/quickstart.yaml --get parallel.pipeline");
  command->callback([options] { show(*options); });
}

}  // namespace halfpipe::tools
