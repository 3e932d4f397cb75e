// SPDX-License-Identifier: Apache-2.0
// What transports have in common that move messages their own way: all else goes through another
// transport.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "parallel/transport/transport.h"

namespace halfpipe::transport {

class CarriedTransport : public Transport {
 public:
  [[nodiscard]] int rank() const override { return carrier_.rank(); }
  [[nodiscard]] int world_size() const override { return carrier_.world_size(); }
  [[nodiscard]] int ranks_on_this_host() const override { return carrier_.ranks_on_this_host(); }
  [[nodiscard]] int rank_on_this_host() const override { return carrier_.rank_on_this_host(); }

  [[nodiscard]] bool watch_until(std::string_view what,
                                 int peer,
                                 const std::function<bool()>& done,
                                 std::chrono::steady_clock::time_point deadline) override {
    return carrier_.watch_until(what, peer, done, deadline);
  }

  void all_reduce_sum(std::span<double> inout) override { carrier_.all_reduce_sum(inout); }
  void broadcast(std::vector<std::byte>& inout, int root) override {
    carrier_.broadcast(inout, root);
  }
  [[nodiscard]] std::vector<std::vector<std::byte>> all_gather(
      std::span<const std::byte> mine) override {
    return carrier_.all_gather(mine);
  }
  void barrier() override { carrier_.barrier(); }

  void publish(const RankStatus& status) override { carrier_.publish(status); }
  void set_timeout(double seconds) override { carrier_.set_timeout(seconds); }
  [[nodiscard]] bool claim_last_words() noexcept override { return carrier_.claim_last_words(); }
  void abort(int exit_code) noexcept override { carrier_.abort(exit_code); }

 protected:
  /// The carrier must outlive it.
  explicit CarriedTransport(Transport& carrier) : carrier_(carrier) {}
  [[nodiscard]] Transport& carrier() const { return carrier_; }

 private:
  Transport& carrier_;
};

}  // namespace halfpipe::transport
