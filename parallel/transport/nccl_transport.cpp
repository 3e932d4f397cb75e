// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/nccl_transport.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "kernels/core/error.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/device/buffer.h"
#include "parallel/transport/nccl_factory.h"

namespace halfpipe::transport {
namespace {

using Clock = std::chrono::steady_clock;

/// Messages that the stream may wait for while the host goes on.
constexpr std::size_t kMostAhead = 4;

/// From a rank to those in its reach, as steps around the ring of ranks.
std::vector<int> steps_of(int num_ranks, Reach reach) {
  std::vector<int> steps;
  for (int step = 1; step < num_ranks; ++step) {
    const bool is_neighbour = step == 1 || step == num_ranks - 1;
    if (reach == Reach::kEveryPair || is_neighbour) steps.push_back(step);
  }
  return steps;
}

/// From a rank to another one in its reach.
struct Way {
  int src;
  int dst;
  int slot;  // of the sender's identifiers
};

/// All ways, in the order in which ranks connect them. A rank is in a few of them, and waits for
/// its peer in each: those of even senders come first, so that a ring connects in a few steps
/// whatever its size.
std::vector<Way> ways_between(int num_ranks, const std::vector<int>& steps) {
  std::vector<Way> ways;
  for (int slot = 0; slot < static_cast<int>(steps.size()); ++slot) {
    for (const int parity : {0, 1}) {
      for (int src = parity; src < num_ranks; src += 2) {
        ways.push_back({src, (src + steps[static_cast<std::size_t>(slot)]) % num_ranks, slot});
      }
    }
  }
  return ways;
}

using NcclIds = std::vector<ncclUniqueId>;  // of the ways that begin at a rank, by slot

std::vector<NcclIds> exchange_ids(Transport& carrier, std::size_t num_slots) {
  NcclIds mine;
  for (std::size_t slot = 0; slot < num_slots; ++slot) mine.push_back(make_nccl_id());
  std::vector<NcclIds> all;
  for (const std::vector<std::byte>& bytes : carrier.all_gather(std::as_bytes(std::span(mine)))) {
    HALFPIPE_CHECK(bytes.size() == num_slots * sizeof(ncclUniqueId),
                   "ranks have different versions of NCCL");
    std::memcpy(all.emplace_back(num_slots).data(), bytes.data(), bytes.size());
  }
  return all;
}

int device_index_of(device::Backend& backend) {
  const std::unique_ptr<device::Stream> stream = backend.make_stream("probe");
  return static_cast<const cuda::CudaStream&>(*stream).device_index();
}

/// "<host> GPU 0000:1b:00.0". Processes that give themselves different NCCL_HOSTIDs pretend to be
/// on different hosts, as they do to NCCL.
std::string place_of(int device_index) {
  std::array<char, 64> host{};
  gethostname(host.data(), host.size() - 1);
  std::array<char, 64> bus{};
  HALFPIPE_CUDA_CHECK(
      cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), device_index));
  const char* const id = std::getenv("NCCL_HOSTID");
  return fmt::format("{} GPU {}", id != nullptr ? id : host.data(), bus.data());
}

std::string in_words(NcclRole role, std::size_t num_bytes) {
  return fmt::format("{} of {} bytes", role == NcclRole::kSender ? "send" : "receive", num_bytes);
}

}  // namespace

NcclTransport::NcclTransport(Transport& carrier, device::Backend& backend, Reach reach)
    : CarriedTransport(carrier), exceptions_at_start_(std::uncaught_exceptions()) {
  HALFPIPE_CHECK(carrier.message_memory() == device::MemoryKind::kPinned,
                 "NCCL's carrier is a transport of the host");
  waited_.reserve(kMostAhead + 1);
  const int device_index = device_index_of(backend);
  connect(device_index, reach);
  warm_up(backend);
}

NcclTransport::~NcclTransport() {
  const bool any = std::ranges::any_of(
      messages_, [](const Message& m) { return m.state == Message::State::kUnderWay; });
  if (any || std::uncaught_exceptions() > exceptions_at_start_) {
    give_up_messages();
    return;
  }
  try {
    close();
  } catch (const std::exception&) {
    // The communicators are aborted instead; whoever is to blame says so.
  }
}

void NcclTransport::connect(int device_index, Reach reach) {
  const std::vector<int> steps = steps_of(world_size(), reach);
  const std::vector<NcclIds> ids = exchange_ids(carrier(), steps.size());
  for (const Way& way : ways_between(world_size(), steps)) {
    const bool sends = way.src == rank();
    if (!sends && way.dst != rank()) continue;
    const ncclUniqueId& id =
        ids[static_cast<std::size_t>(way.src)][static_cast<std::size_t>(way.slot)];
    Channel& made =
        channels_.emplace_back(sends ? way.dst : way.src,
                               sends ? NcclRole::kSender : NcclRole::kReceiver, device_index, id);
    settle(made, "connection by NCCL");
  }
}

void NcclTransport::warm_up(device::Backend& backend) {
  const std::unique_ptr<device::Stream> stream = backend.make_stream("first messages");
  const device::Buffer bytes(backend, 2);
  backend.fill_async(bytes.bytes_pointer(), std::byte{0}, bytes.bytes(), *stream);
  std::vector<Request> requests;
  for (Channel& way : channels_) {
    std::byte* const place = bytes.bytes_pointer() + (way.role == NcclRole::kSender ? 0 : 1);
    requests.push_back(start(way, place, 1, *stream));
  }
  for (const Request& request : requests) {
    const bool arrived = wait_until(request, *stream, Clock::time_point::max());
    HALFPIPE_CHECK(arrived, "there was no deadline");
  }
  stream->synchronize();  // `bytes` goes away
}

NcclTransport::Channel& NcclTransport::channel(int peer, NcclRole role) {
  const auto found = std::ranges::find_if(
      channels_, [&](const Channel& way) { return way.peer == peer && way.role == role; });
  HALFPIPE_CHECK(found != channels_.end(), "NCCL connects ranks in reach only");
  return *found;
}

std::int32_t NcclTransport::take_message() {
  const auto found = std::ranges::find_if(
      messages_, [](const Message& m) { return m.state == Message::State::kFree; });
  const auto index = static_cast<std::int32_t>(found - messages_.begin());
  if (found == messages_.end()) messages_.emplace_back();
  return index;
}

NcclTransport::Message& NcclTransport::message(Request request) {
  const auto index = static_cast<std::size_t>(request.index);
  HALFPIPE_CHECK(request.index >= 0 && index < messages_.size() &&
                     messages_[index].state == Message::State::kUnderWay,
                 "a request is waited for exactly once");
  return messages_[index];
}

Request NcclTransport::start(Channel& way,
                             std::byte* bytes,
                             std::size_t num_bytes,
                             device::Stream& stream) {
  const std::int32_t index = take_message();
  Message& started = messages_[static_cast<std::size_t>(index)];
  stream.record(way.may_move);
  way.stream.wait_for(way.may_move);
  if (num_bytes > 0) {  // NCCL moves none by doing nothing
    const cudaStream_t handle = cuda::cuda_stream_of(way.stream);
    if (way.role == NcclRole::kSender) {
      way.communicator.send(bytes, num_bytes, handle);
    } else {
      way.communicator.receive(bytes, num_bytes, handle);
    }
    settle(way, in_words(way.role, num_bytes));
  }
  way.stream.record(started.moved);
  started.channel = &way;
  started.num_bytes = num_bytes;
  started.state = Message::State::kUnderWay;
  return {index};
}

Request NcclTransport::send(std::span<const std::byte> src, int dst_rank, device::Stream& stream) {
  // Not written: one type of pointer serves both roles.
  return start(channel(dst_rank, NcclRole::kSender), const_cast<std::byte*>(src.data()), src.size(),
               stream);
}

Request NcclTransport::post_recv(std::span<std::byte> dst, int src_rank, device::Stream& stream) {
  return start(channel(src_rank, NcclRole::kReceiver), dst.data(), dst.size(), stream);
}

void NcclTransport::wait(Request request, device::Stream& stream) {
  enqueue_wait(message(request), stream);
  catch_up(kMostAhead);
}

void NcclTransport::enqueue_wait(Message& waited_for, device::Stream& stream) {
  stream.wait_for(waited_for.moved);
  waited_for.state = Message::State::kWaitedFor;
  waited_.push_back(&waited_for);
}

/// So that what the rank says it does is near what its device does, a launch does not find the
/// device's queue full, and a watch over a long step sees that it goes on.
void NcclTransport::catch_up(std::size_t most_ahead) {
  while (waited_.size() > most_ahead) {
    Message& oldest = *waited_.front();
    const Channel& way = *oldest.channel;
    const bool moved = watch(
        in_words(way.role, oldest.num_bytes), way.peer,
        [&] {
          throw_if_failed();
          return oldest.moved.reached();
        },
        Clock::time_point::max());
    HALFPIPE_CHECK(moved, "there was no deadline");
    oldest.state = Message::State::kFree;
    waited_.erase(waited_.begin());
    carrier().publish(status_);  // something has moved, for those who watch this rank
  }
}

bool NcclTransport::wait_until(Request request,
                               device::Stream& stream,
                               Clock::time_point deadline) {
  Message& waited_for = message(request);
  const Channel& way = *waited_for.channel;
  const bool moved = watch(
      in_words(way.role, waited_for.num_bytes), way.peer,
      [&] {
        throw_if_failed();
        return waited_for.moved.reached();
      },
      deadline);
  if (moved) enqueue_wait(waited_for, stream);
  return moved;
}

/// Message by message, so that a stall names one. What is left then waits for nobody.
void NcclTransport::synchronize(device::Stream& stream) {
  catch_up(0);
  stream.synchronize();
}

bool NcclTransport::watch(std::string_view what,
                          int peer,
                          const std::function<bool()>& done,
                          Clock::time_point deadline) {
  try {
    return carrier().watch_until(what, peer, done, deadline);
  } catch (...) {
    give_up_messages();
    throw;
  }
}

/// All at once, and not waited for without end: to abort one, NCCL may wait for the kernels of
/// another one, or for the peer.
void NcclTransport::give_up_messages() noexcept {
  constexpr auto kLongest = std::chrono::seconds(2);
  try {
    const auto num_left = std::make_shared<std::atomic<std::size_t>>(channels_.size());
    for (Channel& way : channels_) {
      std::thread([handle = way.communicator.release(), num_left] {
        NcclCommunicator::abort(handle);
        --*num_left;
      }).detach();
    }
    const auto deadline = Clock::now() + kLongest;
    while (*num_left > 0 && Clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  } catch (const std::exception&) {
    // No thread, no memory: the process ends all the same.
  }
}

/// NCCL's calls return before they are done; no other call may follow before.
void NcclTransport::settle(Channel& way, std::string_view what) {
  if (way.communicator.is_ready()) return;
  const bool ready = watch(
      what, way.peer, [&] { return way.communicator.is_ready(); }, Clock::time_point::max());
  HALFPIPE_CHECK(ready, "there was no deadline");
}

void NcclTransport::throw_if_failed() const {
  for (const Channel& way : channels_) {
    const bool ready = way.communicator.is_ready();
    HALFPIPE_CHECK(ready, "a call of NCCL was left before its end");
  }
}

/// In the order of all ranks, as they were made.
void NcclTransport::close() {
  for (Channel& way : channels_) {
    way.communicator.close();
    settle(way, "end of a connection by NCCL");
  }
  carrier().barrier();  // nobody leaves while a neighbour still closes
}

void require_nccl() {}

/// NCCL looks at the two ranks of a communicator only.
void require_own_devices(Transport& world, device::Backend& backend) {
  const std::string mine = place_of(device_index_of(backend));
  std::map<std::string, int> rank_at;
  int rank = 0;
  for (const std::vector<std::byte>& bytes : world.all_gather(std::as_bytes(std::span(mine)))) {
    const std::string place(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const auto [other, is_first] = rank_at.emplace(place, rank);
    if (!is_first) {
      throw UserError(fmt::format(
          "parallel.transport (nccl) needs a GPU for each rank: ranks {} and {} share {}; "
          "start fewer ranks, or use parallel.transport host",
          other->second, rank, place));
    }
    ++rank;
  }
}

std::unique_ptr<Transport> make_nccl_transport(Transport& carrier,
                                               device::Backend& backend,
                                               Reach reach) {
  return std::make_unique<NcclTransport>(carrier, backend, reach);
}

}  // namespace halfpipe::transport
