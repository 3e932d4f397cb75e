// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/tuning.h"

#include <fmt/format.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "engine/runtime/ranks/activity.h"
#include "engine/runtime/ranks/agreement.h"
#include "kernels/core/error.h"

namespace halfpipe::runtime {
namespace {

using checkpoint::TunedRecord;

std::vector<TunedRecord> gather(const TunedRecord& mine, transport::Transport& transport) {
  const std::string text = checkpoint::to_json(mine);
  std::vector<TunedRecord> all;
  for (const std::vector<std::byte>& part :
       transport.all_gather(std::as_bytes(std::span(std::string_view(text))))) {
    all.push_back(checkpoint::parse_tuned_record(
        std::string(reinterpret_cast<const char*>(part.data()), part.size()),
        fmt::format("the choices of rank {}", all.size())));
  }
  return all;
}

void require_same_device(const std::vector<TunedRecord>& all, transport::Transport& transport) {
  agree(transport, [&] {
    for (std::size_t rank = 1; rank < all.size(); ++rank) {
      if (all[rank].made_for == all[0].made_for) continue;
      throw UserError(fmt::format(
          "device.tune (true) wants the same device and library on all ranks: rank 0 has {}, rank "
          "{} has {}",
          all[0].made_for, rank, all[rank].made_for));
    }
  });
}

/// What the ranks found, by the lowest one that has a kind.
TunedRecord merge(const std::vector<TunedRecord>& all) {
  TunedRecord merged = all.front();
  for (const TunedRecord& each : all) {
    merged.choices.insert(each.choices.begin(), each.choices.end());  // not over those of others
  }
  return merged;
}

std::string report_of(const device::TunedChoices& choices, std::size_t num_known, double seconds) {
  double first = 0.0;
  double chosen = 0.0;
  int num_changed = 0;
  for (const auto& [kind, choice] : choices) {
    first += choice.first_seconds;
    chosen += choice.seconds;
    if (choice.seconds < choice.first_seconds) ++num_changed;
  }
  return fmt::format(
      "tuned       {} kinds of matrix products, {} of them known before, the others measured in "
      "{:.1f} s;\n"
      "            {} by another algorithm than the library's first: one of each kind takes {:.3f} "
      "ms instead of {:.3f}\n",
      choices.size(), num_known, seconds, num_changed, 1e3 * chosen, 1e3 * first);
}

}  // namespace

Tuning tune(PipelineTrainer& trainer,
            transport::Transport& transport,
            const std::optional<TunedRecord>& known) {
  constexpr std::int64_t kOutsideOfSteps = -1;
  publish_activity(transport, kOutsideOfSteps, "tuning");
  device::Tuner* const tuner = trainer.backend().tuner_or_null();
  HALFPIPE_CHECK(tuner != nullptr, "device.tune on a device that has nothing to choose");
  const auto begin = std::chrono::steady_clock::now();
  Tuning result;
  TunedRecord mine;
  std::size_t num_known = 0;
  agree(transport, [&] {
    mine.made_for = tuner->made_for();
    if (known && known->made_for == mine.made_for) {
      mine.choices = known->choices;
    } else if (known) {
      result.warnings.push_back(fmt::format(
          "the checkpoint was tuned for {}, this is {}: products are measured anew, and the run "
          "goes on differently from an uninterrupted one",
          known->made_for, mine.made_for));
    }
    num_known = mine.choices.size();
    tuner->use(mine.choices);
    tuner->begin_measuring();
    try {
      trainer.run_every_pass_alone();  // a rank that fails must leave none waiting
    } catch (const RuntimeFailure& failure) {
      if (num_known == 0) throw;
      throw RuntimeFailure(
          fmt::format("{}; some choices are those of tuned_choices.json in the checkpoint: --set "
                      "device.tune=false goes on without them",
                      failure.what()));
    }
    mine.choices = tuner->end_measuring();
  });
  const std::vector<TunedRecord> all = gather(mine, transport);
  require_same_device(all, transport);
  result.record = merge(all);
  agree(transport, [&] {
    tuner->use(result.record.choices);
    trainer.run_every_pass_alone();  // loads the code of what others chose
  });
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  result.report = report_of(result.record.choices, num_known, elapsed.count());
  return result;
}

}  // namespace halfpipe::runtime
