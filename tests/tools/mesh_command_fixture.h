// SPDX-License-Identifier: Apache-2.0
// The fixture of the tests that train on meshes of ranks.
#pragma once

#include <string>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {

struct Mesh {
  int data;
  int tensor;
  int pipeline;

  [[nodiscard]] int num_ranks() const { return data * tensor * pipeline; }
  [[nodiscard]] std::string name() const {
    return "dp" + std::to_string(data) + "-tp" + std::to_string(tensor) + "-pp" +
           std::to_string(pipeline);
  }
};

class MeshCommand : public CommandTest {
 protected:
  /// `train run.yaml` on this mesh, with settings.
  [[nodiscard]] static Arguments job(const Mesh& mesh, const Arguments& settings) {
    return train(Arguments{"parallel.data=" + std::to_string(mesh.data),
                           "parallel.tensor=" + std::to_string(mesh.tensor),
                           "parallel.pipeline=" + std::to_string(mesh.pipeline)} +
                 settings);
  }
  /// The same with threads as ranks, run to its end.
  [[nodiscard]] CommandResult run_local(const Mesh& mesh,
                                        const Arguments& settings,
                                        const Arguments& more = {}) const {
    return run(job(mesh, settings) + Arguments{"--local-ranks", std::to_string(mesh.num_ranks())} +
               more);
  }
  /// What it wrote into the folder `dir`.
  [[nodiscard]] Metrics metrics(const Mesh& mesh,
                                const std::string& dir,
                                const Arguments& settings = {}) const {
    EXPECT_TRUE(succeeded(run_local(mesh, settings + Arguments{"output.dir=" + dir})));
    return read_metrics(path(dir));
  }
  /// `plan` of what job() would train.
  [[nodiscard]] CommandResult plan(const Mesh& mesh, const Arguments& settings) const {
    Arguments arguments = job(mesh, settings);
    arguments.front() = "plan";
    return run(arguments);
  }
  /// Of rank 0, as a plan and a run print it.
  [[nodiscard]] static std::string memory_line(const std::string& text) {
    const std::size_t begin = text.find("  rank 0   ", text.find("memory, MiB"));
    return text.substr(begin, text.find('\n', begin) - begin);
  }
};

}  // namespace halfpipe::tools
