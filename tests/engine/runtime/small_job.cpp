// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/runtime/small_job.h"

#include <thread>

#include "engine/runtime/ranks/rank_groups.h"
#include "kernels/core/philox.h"
#include "kernels/cpu/cpu_backend.h"
#include "parallel/transport/local_group.h"

namespace halfpipe::runtime {

config::RunConfig small_config(const std::string& schedule, int pipeline) {
  config::RunConfig config;
  config.model.num_layers = 5;
  config.model.num_heads = 3;
  config.model.hidden_size = 24;
  config.model.seq_len = 12;
  config.model.vocab_size = 29;
  config.train.micro_batch_size = 2;
  config.train.global_batch_size = 16;
  config.train.seed = 7;
  config.optimizer.learning_rate = 1e-2;
  config.optimizer.clip_grad_norm = 0.5;
  config.parallel.pipeline = pipeline;
  config.schedule.name = schedule;
  return config;
}

HostBatch small_batch(const config::RunConfig& config, std::int64_t step) {
  const std::int64_t count =
      static_cast<std::int64_t>(config.train.global_batch_size) * config.model.seq_len;
  const auto vocab_size = static_cast<std::uint32_t>(config.model.vocab_size);
  HostBatch batch;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto words = philox(11, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(step));
    batch.inputs.push_back(static_cast<std::int32_t>(words[0] % vocab_size));
    batch.targets.push_back(static_cast<std::int32_t>(words[1] % vocab_size));
  }
  return batch;
}

namespace {

/// Of a replica.
HostBatch part_of(const HostBatch& batch, int replica, int num_replicas) {
  const auto cut = [&](const std::vector<std::int32_t>& all) {
    const std::ptrdiff_t count = std::ssize(all) / num_replicas;
    const auto begin = all.begin() + replica * count;
    return std::vector<std::int32_t>(begin, begin + count);
  };
  return {cut(batch.inputs), cut(batch.targets)};
}

}  // namespace

void on_every_rank(const Job& job, int threads, const RankBody& body) {
  on_every_rank(job, threads, [&](Job&, PipelineTrainer& trainer, const RankGroups& groups) {
    body(trainer, groups);
  });
}

void on_every_rank(const Job& job,
                   int threads,
                   const std::function<void(Job&, PipelineTrainer&, const RankGroups&)>& body) {
  const int num_ranks = mesh_of(job.config.parallel).num_ranks();
  transport::LocalGroup group(num_ranks);
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(num_ranks));
  const auto run_rank = [&](int rank) {
    const auto transport = group.make_transport(rank);
    transport->set_timeout(60.0);
    const auto backend = cpu::make_cpu_backend(threads);
    const RankGroups groups(job.config.parallel, *transport);
    Job own = job;
    PipelineTrainer trainer(own, *backend, transports_of(groups));
    body(own, trainer, groups);
  };
  {
    std::vector<std::jthread> ranks;
    for (int rank = 0; rank < num_ranks; ++rank) {
      ranks.emplace_back([&, rank] {
        try {
          run_rank(rank);
        } catch (...) {
          failures[static_cast<std::size_t>(rank)] = std::current_exception();
          group.abort(1, "a rank failed");
        }
      });
    }
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

std::vector<StepResult> small_step_on(PipelineTrainer& trainer,
                                      const config::RunConfig& config,
                                      std::int64_t step,
                                      PipelineTrainer::Ending ending,
                                      BatchOrder order) {
  const HostBatch batch = small_batch(config, order == BatchOrder::kSameBatch ? 0 : step);
  return trainer.step_on(step, config.optimizer.learning_rate,
                         part_of(batch, trainer.replica(), config.parallel.data), false, ending);
}

StepResult small_step(PipelineTrainer& trainer,
                      const config::RunConfig& config,
                      std::int64_t step,
                      BatchOrder order) {
  const StepResult result =
      small_step_on(trainer, config, step, PipelineTrainer::Ending::kNow, order).back();
  trainer.refuse(step, result);
  return result;
}

RunRecord run_locally(const config::RunConfig& config, int steps, int threads, BatchOrder order) {
  const Job job = make_job(config);
  RunRecord record;
  record.planned = plan_memory(job, *cpu::make_cpu_backend(threads));
  record.measured.resize(static_cast<std::size_t>(config.parallel.pipeline));
  on_every_rank(job, threads, [&](PipelineTrainer& trainer, const RankGroups& groups) {
    const bool speaks = groups.world().rank() == 0;
    trainer.initialise_parameters(config.train.seed, 1);
    for (std::int64_t step = 0; step < steps; ++step) {
      const auto ending =
          step + 1 == steps ? PipelineTrainer::Ending::kNow : PipelineTrainer::Ending::kWithTheNext;
      for (const StepResult& result : small_step_on(trainer, config, step, ending, order)) {
        if (!speaks) continue;
        record.losses.push_back(result.loss);
        record.norms.push_back(result.grad_norm);
      }
    }
    const std::string hash = trainer.parameter_hash();
    if (speaks) record.parameter_hash = hash;
    const parallel::Coordinates& place = groups.place();
    if (place.data != 0 || place.tensor != 0) return;
    record.measured[static_cast<std::size_t>(place.pipeline)] = trainer.measured_memory();
  });
  return record;
}

}  // namespace halfpipe::runtime
