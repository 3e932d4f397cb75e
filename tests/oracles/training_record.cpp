// SPDX-License-Identifier: Apache-2.0
#include "tests/oracles/training_record.h"

#include <cstddef>
#include <exception>
#include <thread>

#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"

namespace halfpipe::oracles {

namespace {

constexpr int kThreadsPerRank = 1;

void load(runtime::PipelineTrainer& trainer, const Fixture& fixture) {
  for (model::Parameter& parameter : trainer.parameters().all()) {
    const std::vector<float> host = fixture.values("initial." + parameter.spec.name);
    trainer.backend().copy_async(parameter.value, host.data(), host.size() * sizeof(float),
                                 trainer.stream());
    trainer.stream().synchronize();
  }
}

HostParameters copy_to_host(runtime::PipelineTrainer& trainer, float* model::Parameter::*tensor) {
  HostParameters copies;
  for (const model::Parameter& parameter : trainer.parameters().all()) {
    std::vector<float>& host = copies[parameter.spec.name];
    host.resize(static_cast<std::size_t>(parameter.count()));
    trainer.backend().copy_async(host.data(), parameter.*tensor, host.size() * sizeof(float),
                                 trainer.stream());
  }
  trainer.stream().synchronize();
  return copies;
}

RankRecord run_rank(const runtime::Job& job,
                    const Fixture& fixture,
                    transport::Transport& transport) {
  const auto backend = cpu::make_cpu_backend(kThreadsPerRank);
  runtime::PipelineTrainer trainer(job, *backend, transport);
  load(trainer, fixture);
  RankRecord record;
  for (int step = 0; step < fixture.num_steps(); ++step) {
    record.steps.push_back(
        trainer.step(step, job.config.optimizer.learning_rate, fixture.batch(step), false));
    if (step == 0) record.gradients = copy_to_host(trainer, &model::Parameter::gradient);
  }
  record.values = copy_to_host(trainer, &model::Parameter::value);
  return record;
}

}  // namespace

std::vector<RankRecord> train(const Fixture& fixture, const std::string& schedule, int pipeline) {
  config::RunConfig config = fixture.config();
  config.schedule.name = schedule;
  config.parallel.pipeline = pipeline;
  const runtime::Job job = runtime::make_job(config);
  transport::LocalGroup group(pipeline);
  std::vector<RankRecord> records(static_cast<std::size_t>(pipeline));
  std::vector<std::exception_ptr> failures(records.size());
  {
    std::vector<std::jthread> ranks;
    for (int rank = 0; rank < pipeline; ++rank) {
      ranks.emplace_back([&, rank] {
        const auto index = static_cast<std::size_t>(rank);
        try {
          const auto transport = group.make_transport(rank);
          transport->set_timeout(60.0);
          records[index] = run_rank(job, fixture, *transport);
        } catch (...) {
          failures[index] = std::current_exception();
          group.abort(1, "a rank failed");
        }
      });
    }
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  return records;
}

}  // namespace halfpipe::oracles
