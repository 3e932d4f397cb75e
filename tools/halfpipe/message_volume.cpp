// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/message_volume.h"

#include <map>
#include <utility>

namespace halfpipe::tools {

std::vector<LinkVolume> message_volume(const schedule::Plan& plan) {
  std::map<std::pair<int, int>, LinkVolume> links;
  for (const schedule::Message& message : plan.messages) {
    const std::pair<int, int> ends{message.src_rank, message.dst_rank};
    LinkVolume& link =
        links.try_emplace(ends, LinkVolume{ends.first, ends.second, 0, 0, 0}).first->second;
    ++(message.is_gradient ? link.gradients : link.activations);
    link.bytes += plan.message_bytes;
  }
  std::vector<LinkVolume> volume;
  for (const auto& [ends, link] : links) volume.push_back(link);
  return volume;
}

std::int64_t tied_gradient_bytes(const runtime::Job& job) {
  const model::TransformerConfig& model = job.config.model;
  if (!model.tie_embeddings || job.placement.ends_share_rank()) return 0;
  return std::int64_t{model.vocab_size} * model.hidden_size *
         static_cast<std::int64_t>(sizeof(float));
}

}  // namespace halfpipe::tools
