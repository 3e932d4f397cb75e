// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/ranks/rank_places.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <set>
#include <span>

#include "kernels/core/error.h"

namespace halfpipe::runtime {

namespace {

/// More ranks have a line for each host.
constexpr std::size_t kMostRankLines = 16;

/// Between host and device; neither has it inside.
constexpr char kSeparator = '\n';

/// "0-3,8": ascending numbers.
std::string ranges_of(const std::set<int>& numbers) {
  std::string text;
  for (auto first = numbers.begin(); first != numbers.end();) {
    auto last = first;
    auto next = std::next(first);
    while (next != numbers.end() && *next == *last + 1) last = next++;
    if (!text.empty()) text += ',';
    text += first == last ? fmt::format("{}", *first) : fmt::format("{}-{}", *first, *last);
    first = next;
  }
  return text;
}

std::size_t widest_host(const std::vector<RankPlace>& places) {
  std::size_t width = 0;
  for (const RankPlace& place : places) width = std::max(width, place.host.size());
  return width;
}

std::string line_of_rank(const parallel::Mesh& mesh,
                         const std::vector<RankPlace>& places,
                         std::size_t rank) {
  const parallel::Coordinates at = mesh.coordinates_of(static_cast<int>(rank));
  return fmt::format("  rank {:<4}  {:<{}}  {:<6}  dp {:<3} pp {:<3} tp {}\n", rank,
                     places[rank].host, widest_host(places), places[rank].device, at.data,
                     at.pipeline, at.tensor);
}

std::string line_of_host(const parallel::Mesh& mesh,
                         const std::vector<RankPlace>& places,
                         const std::string& host) {
  std::set<int> ranks;
  std::set<int> data;
  std::set<int> pipeline;
  std::set<int> tensor;
  std::string first_device;
  std::string last_device;
  for (std::size_t rank = 0; rank < places.size(); ++rank) {
    if (places[rank].host != host) continue;
    const int number = static_cast<int>(rank);
    const parallel::Coordinates at = mesh.coordinates_of(number);
    ranks.insert(number);
    data.insert(at.data);
    pipeline.insert(at.pipeline);
    tensor.insert(at.tensor);
    if (first_device.empty()) first_device = places[rank].device;
    last_device = places[rank].device;
  }
  const std::string devices =
      first_device == last_device ? first_device : first_device + " to " + last_device;
  return fmt::format("  {:<{}}  ranks {}, {}, dp {}, pp {}, tp {}\n", host, widest_host(places),
                     ranges_of(ranks), devices, ranges_of(data), ranges_of(pipeline),
                     ranges_of(tensor));
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

std::vector<RankPlace> gather_places(const RankPlace& mine, transport::Transport& transport) {
  const std::string message = mine.host + kSeparator + mine.device;
  std::vector<RankPlace> places;
  for (const std::vector<std::byte>& bytes :
       transport.all_gather(std::as_bytes(std::span(message)))) {
    std::string text(bytes.size(), '\0');
    std::ranges::transform(bytes, text.begin(), [](std::byte b) { return static_cast<char>(b); });
    const std::size_t end = text.find(kSeparator);
    HALFPIPE_CHECK(end != std::string::npos, "a place without a device");
    places.push_back({text.substr(0, end), text.substr(end + 1)});
  }
  return places;
}

std::string place_lines(const parallel::Mesh& mesh, const std::vector<RankPlace>& places) {
  HALFPIPE_CHECK(static_cast<int>(places.size()) == mesh.num_ranks(), "a place for every rank");
  std::vector<std::string> hosts;  // in the order of their first ranks
  for (const RankPlace& place : places) {
    if (std::ranges::find(hosts, place.host) == hosts.end()) hosts.push_back(place.host);
  }
  if (hosts.size() == 1 && mesh.num_ranks() == mesh.extents.pipeline) return "";
  std::string lines = "places\n";
  if (places.size() <= kMostRankLines) {
    for (std::size_t rank = 0; rank < places.size(); ++rank) {
      lines += line_of_rank(mesh, places, rank);
    }
    return lines;
  }
  for (const std::string& host : hosts) lines += line_of_host(mesh, places, host);
  return lines;
}

}  // namespace halfpipe::runtime
