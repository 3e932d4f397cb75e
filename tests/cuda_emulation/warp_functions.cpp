// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/warp_functions.h"

#include <bit>

#include <fmt/format.h>

#include "tests/cuda_emulation/block_runner.h"

namespace halfpipe::cuda_emulation {
namespace {

struct Shuffled {
  std::uint64_t bits;
  std::uint64_t result;
  unsigned source;
};

template <typename Function>
void for_each_lane(std::uint32_t mask, Function function) {
  for (; mask != 0; mask &= mask - 1) function(static_cast<unsigned>(std::countr_zero(mask)));
}

void conclude_shuffle(WarpSlots& slots, std::uint32_t mask) {
  for_each_lane(mask, [&](unsigned lane) {
    auto shuffled = slots[lane].get<Shuffled>();
    if (shuffled.source >= kLanes || (mask >> shuffled.source & 1U) == 0) {
      BlockRunner::current().fail(fmt::format(
          "lane {} shuffles from lane {}, which is not in the mask", lane, shuffled.source));
    }
    shuffled.result = slots[shuffled.source].get<Shuffled>().bits;
    slots[lane].put(shuffled);
  });
}

void conclude_vote(WarpSlots& slots, std::uint32_t mask) {
  unsigned ballot = 0;
  for_each_lane(mask, [&](unsigned lane) { ballot |= slots[lane].get<unsigned>() << lane; });
  for_each_lane(mask, [&](unsigned lane) { slots[lane].put(ballot); });
}

void conclude_sum(WarpSlots& slots, std::uint32_t mask) {
  unsigned sum = 0;
  for_each_lane(mask, [&](unsigned lane) { sum += slots[lane].get<unsigned>(); });
  for_each_lane(mask, [&](unsigned lane) { slots[lane].put(sum); });
}

}  // namespace

std::uint64_t shuffle(unsigned mask, std::uint64_t bits, unsigned source) {
  BlockRunner& runner = BlockRunner::current();
  runner.slot().put(Shuffled{bits, 0, source});
  runner.meet(Meeting::kShuffle, mask, conclude_shuffle);
  return runner.slot().get<Shuffled>().result;
}

unsigned vote(unsigned mask, bool predicate) {
  BlockRunner& runner = BlockRunner::current();
  runner.slot().put(predicate ? 1U : 0U);
  runner.meet(Meeting::kVote, mask, conclude_vote);
  return runner.slot().get<unsigned>();
}

unsigned sum_of_lanes(unsigned mask, unsigned value) {
  BlockRunner& runner = BlockRunner::current();
  runner.slot().put(value);
  runner.meet(Meeting::kReduction, mask, conclude_sum);
  return runner.slot().get<unsigned>();
}

unsigned current_lane() {
  return BlockRunner::current().lane();
}

int count_in_block(bool predicate) {
  return BlockRunner::current().count_in_block(predicate);
}

}  // namespace halfpipe::cuda_emulation

void __syncthreads() {
  halfpipe::cuda_emulation::BlockRunner::current().wait_for_block();
}

int __syncthreads_count(int predicate) {
  return halfpipe::cuda_emulation::count_in_block(predicate != 0);
}
int __syncthreads_or(int predicate) {
  return __syncthreads_count(predicate) > 0 ? 1 : 0;
}
int __syncthreads_and(int predicate) {
  return __syncthreads_count(predicate == 0 ? 1 : 0) == 0 ? 1 : 0;
}

void __syncwarp(unsigned mask) {
  using namespace halfpipe::cuda_emulation;
  BlockRunner::current().meet(Meeting::kBarrier, mask, nullptr);
}
