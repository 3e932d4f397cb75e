// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/start_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/config/config_to_yaml.h"
#include "engine/model/model_cost.h"
#include "engine/runtime/planning/stage_costs.h"
#include "engine/runtime/ranks/mesh_of.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::runtime {

namespace {

constexpr double kMebibyte = 1024.0 * 1024.0;

std::string model_lines(const Job& job) {
  const model::TransformerConfig& model = job.config.model;
  return fmt::format(
      "model       gpt2: {} blocks, hidden {}, {} heads of {}, context {}, vocabulary {}, {} head, "
      "{}\n"
      "parameters  {} ({:.2f} M), {:.3g} model FLOPs per token (6 N + 6 L C T)\n",
      model.num_layers, model.hidden_size, model.num_heads, model.head_size(), model.seq_len,
      model.vocab_size, model.tie_embeddings ? "tied" : "untied",
      model.bias ? "biases" : "no biases", model::num_parameters(model),
      1e-6 * static_cast<double>(model::num_parameters(model)),
      model::model_flops_per_token(model));
}

std::string stage_text(const model::StageLayers& layers) {
  std::string text;
  if (layers.has_embedding) text += "embedding ";
  if (layers.num_blocks == 1) text += fmt::format("block {} ", layers.first_block);
  if (layers.num_blocks > 1) {
    text += fmt::format("blocks {}-{} ", layers.first_block,
                        layers.first_block + layers.num_blocks - 1);
  }
  if (layers.has_head) text += "head ";
  if (text.empty()) text = "(passes through) ";
  text.pop_back();
  return text;
}

std::string stage_map_lines(const Job& job) {
  std::string text = "stage map\n";
  const schedule::Placement& placement = job.placement;
  for (int rank = 0; rank < placement.num_pipeline_ranks(); ++rank) {
    text += fmt::format("  rank {:<3}", rank);
    for (int chunk = 0; chunk < placement.num_chunks(); ++chunk) {
      const int stage = placement.stage_of(rank, chunk);
      text += fmt::format("  stage {:<3} {:<24}", stage,
                          stage_text(job.stage_map[static_cast<std::size_t>(stage)]));
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

std::string schedule_lines(const Job& job) {
  const schedule::Timeline timeline = schedule::simulate(orders_of(job.training), job.costs);
  return fmt::format(
      "schedule    {}: {} pipeline ranks, {} micro-batches of {} sequences; planned bubble {:.1f}% "
      "by span, "
      "{:.1f}% by makespan (the optimizer step waits for all ranks), {}\n",
      job.training.schedule_name, job.placement.num_pipeline_ranks(),
      job.training.num_micro_batches, job.config.train.micro_batch_size,
      100.0 * timeline.bubble_fraction, 100.0 * timeline.bubble_fraction_makespan,
      costs_are_seconds(job.config) ? "passes and messages of the hardware profile"
                                    : "free messages, modelled costs");
}

/// "(replica x 4 + pipeline rank) x 2 + tensor rank": axes of one rank are left out.
std::string rank_formula(const config::RunConfig& config) {
  const parallel::Mesh mesh = mesh_of(config.parallel);
  const auto name = [](parallel::Axis axis) {
    return axis == parallel::Axis::kData       ? "replica"
           : axis == parallel::Axis::kPipeline ? "pipeline rank"
                                               : "tensor rank";
  };
  std::string text;
  int num_terms = 0;
  for (const parallel::Axis axis : mesh.order) {
    if (mesh.extents[axis] == 1) continue;
    if (num_terms == 0) {
      text = name(axis);
    } else {
      const std::string outer = num_terms == 1 ? text : fmt::format("({})", text);
      text = fmt::format("{} x {} + {}", outer, mesh.extents[axis], name(axis));
    }
    ++num_terms;
  }
  return text;
}

/// Where the ranks of the job are; empty with one pipeline that shares no layers.
std::string mesh_lines(const config::RunConfig& config) {
  const config::ParallelConfig& parallel = config.parallel;
  std::string lines;
  if (parallel.data > 1) {
    lines += fmt::format("replicas    {} of this pipeline, each with {} of {} sequences a step\n",
                         parallel.data, config.train.global_batch_size / parallel.data,
                         config.train.global_batch_size);
  }
  if (parallel.tensor > 1) {
    lines += fmt::format(
        "tensor      {} ranks share each layer: {} of {} heads each; memory and messages are of "
        "one "
        "of them\n",
        parallel.tensor, config.model.num_heads / parallel.tensor, config.model.num_heads);
  }
  if (lines.empty()) return "";
  return lines + fmt::format("order       {}: rank = {}\n", parallel.order, rank_formula(config));
}

/// What the search found, and how good it might have been.
std::string search_lines(const Job& job) {
  if (!job.search) return "";
  const ScheduleSearch& search = *job.search;
  const auto [least, most] =
      std::minmax_element(search.memory_limit.begin(), search.memory_limit.end());
  const auto mebibytes = [](std::int64_t bytes) {
    return fmt::format("{:.2f}", static_cast<double>(bytes) / kMebibyte);
  };
  const std::string& objective = job.config.schedule.objective;
  const std::string quality =
      fmt::format("at most {:.1f}% above the best possible for these stages ({})\n",
                  100.0 * (search.cost / search.stages_bound - 1.0), search.stages_reason);
  if (search.textbook_cost) {
    return fmt::format(
        "            improved in {:.2f} s for these costs, in the memory of the textbook order: {} "
        "{:.1f}% below its, {}",
        search.search_seconds, objective, 100.0 * (1.0 - search.cost / *search.textbook_cost),
        quality);
  }
  return fmt::format(
      "            found in {:.2f} s for {}{} MiB of activations per rank: {} stages per rank, {} "
      "{}",
      search.search_seconds, *least == *most ? "" : mebibytes(*least) + " to ", mebibytes(*most),
      job.placement.num_chunks(), objective, quality);
}

std::string memory_lines(const Job& job, const std::vector<RankMemory>& memory) {
  const std::vector<std::int64_t> without_head = plan_activations_without_head(job);
  const bool copies = job.config.output.asynchronous_checkpoints;
  std::vector<const char*> kinds = {"parameters",  "gradients", "optimizer",
                                    "activations", "(no head)", "arena",
                                    "messages",    "workspace", "batch"};
  if (copies) kinds.push_back("host copy");
  kinds.push_back("total");
  std::string text = "memory, MiB";
  for (const char* kind : kinds) text += fmt::format("{:>12}", kind);
  text += '\n';
  for (std::size_t rank = 0; rank < memory.size(); ++rank) {
    const RankMemory& m = memory[rank];
    text += fmt::format("  rank {:<4}", rank);
    std::vector<std::int64_t> figures = {m.parameters,    m.gradients,        m.optimizer,
                                         m.activations,   without_head[rank], m.activations_arena,
                                         m.communication, m.workspace,        m.batch};
    if (copies) figures.push_back(m.checkpoint_copy);
    figures.push_back(m.total());
    for (const std::int64_t bytes : figures) {
      text += fmt::format("{:>12.2f}", static_cast<double>(bytes) / kMebibyte);
    }
    text += '\n';
  }
  text +=
      "  activations: peak of live saved tensors; arena: what is taken for them; the total counts "
      "the arena\n";
  if (copies) text += "  host copy: of what a rank saves while it trains, in memory of the host\n";
  return text;
}

std::string device_line(const config::RunConfig& config, int threads_per_rank) {
  const config::DeviceConfig& device = config.device;
  if (is_modelled(device)) return fmt::format("device      modelled: {}\n", device.profile->name);
  if (device.kind != "cpu") {
    return fmt::format("device      {}, messages {}, {}{}{}{}{}\n", device.kind,
                       config.parallel.transport == "nccl" ? "by NCCL" : "through pinned memory",
                       attention_in_words(device),
                       config.model.fused_gelu ? ", GELU within products" : "",
                       config.model.fused_bias_gradient ? ", a bias's gradient within GELU's" : "",
                       device.cuda_graphs ? ", each pass a CUDA graph" : "",
                       config.debug.sync_kernels ? ", each operation waited for" : "");
  }
  return fmt::format("device      {}, {} threads per rank{}\n", device.kind, threads_per_rank,
                     device.pin_threads ? ", each on a CPU of its own" : "");
}

}  // namespace

std::string attention_in_words(const config::DeviceConfig& device) {
  const std::string& reason = device.attention_reason;
  if (device.attention == "auto") return "flash attention or cuDNN's";
  if (device.attention == "cudnn") return "attention by " + (reason.empty() ? "cuDNN" : reason);
  return reason.empty() ? "flash attention" : fmt::format("flash attention ({})", reason);
}

std::string start_report(const Job& job,
                         const std::vector<RankMemory>& memory,
                         int threads_per_rank) {
  return "configuration\n" + config::to_section_lines(job.config) + model_lines(job) +
         stage_map_lines(job) + mesh_lines(job.config) + schedule_lines(job) + search_lines(job) +
         device_line(job.config, threads_per_rank) + memory_lines(job, memory);
}

}  // namespace halfpipe::runtime
