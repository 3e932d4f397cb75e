// SPDX-License-Identifier: Apache-2.0
// NCCL on the host, for ranks that are threads or processes of one machine: a message is a file in
// shared memory. As strict as NCCL may be: no call is done when it returns, the next one before it
// is done is refused; a send ends when its message was received; sizes that disagree end the
// process.
#include <nccl.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "tests/cuda_emulation/memory.h"
#include "tests/cuda_emulation/stream_queue.h"

namespace fs = std::filesystem;

namespace halfpipe::cuda_emulation {
namespace {

constexpr int kNumRanks = 2;
/// Of a call until it is done.
constexpr int kNumLooks = 2;

fs::path folder_of(const ncclUniqueId& id) {
  const fs::path shared = "/dev/shm";
  return (fs::exists(shared) ? shared : fs::temp_directory_path()) / id.internal;
}

/// One end of a communicator; messages on their way keep it.
struct End {
  fs::path folder;
  int rank = 0;
  std::uint64_t num_sent = 0;
  std::uint64_t num_received = 0;
  std::atomic<bool> aborted{false};  // read by whoever runs the streams

  [[nodiscard]] fs::path file(int sender, std::uint64_t number) const {
    return folder / fmt::format("{}-{}", sender, number);
  }
  [[nodiscard]] fs::path presence(int of_rank) const {
    return folder / fmt::format("rank-{}", of_rank);
  }
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "emulated NCCL: %s\n", what.c_str());
  std::abort();
}

/// Whole, or not there: whoever looks must not read half of it.
void write_file(const fs::path& path, const void* bytes, std::size_t num_bytes) {
  const fs::path part = path.string() + ".part";
  std::ofstream(part, std::ios::binary)
      .write(static_cast<const char*>(bytes), static_cast<std::streamsize>(num_bytes));
  fs::rename(part, path);
}

std::vector<char> read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace
}  // namespace halfpipe::cuda_emulation

using namespace halfpipe::cuda_emulation;

struct ncclComm {
  std::shared_ptr<End> end;
  std::string last_error;
  int looks_left = kNumLooks;  // until the last call is done
  bool connecting = true;
  bool finalized = false;
};

namespace {

ncclResult_t refuse(ncclComm_t communicator, const std::string& why) {
  communicator->last_error = why;
  return ncclInvalidUsage;
}

ncclResult_t begin(ncclComm_t communicator) {
  communicator->looks_left = kNumLooks;
  return ncclInProgress;
}

/// Null when the call may go on.
const char* objection(const ncclComm& communicator,
                      std::size_t count,
                      ncclDataType_t type,
                      int peer) {
  if (communicator.connecting || communicator.looks_left > 0) return "the last call is not done";
  if (communicator.finalized) return "the communicator was finalized";
  if (count == 0 || type != ncclUint8) return "only bytes, at least one";
  return peer == 1 - communicator.end->rank ? nullptr : "there is no such peer";
}

}  // namespace

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclInProgress:
      return "in progress";
    case ncclInvalidUsage:
      return "invalid usage";
    default:
      return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm_t communicator) {
  return communicator == nullptr ? "" : communicator->last_error.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::random_device random;
  *id = {};
  const std::string name =
      fmt::format("halfpipe-nccl-{}-{:08x}{:08x}", getpid(), random(), random());
  std::memcpy(id->internal, name.c_str(), name.size() + 1);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(
    ncclComm_t* communicator, int num_ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (num_ranks != kNumRanks || rank < 0 || rank >= kNumRanks || config->blocking != 0) {
    return ncclInvalidArgument;
  }
  auto end = std::make_shared<End>();
  end->folder = folder_of(id);
  end->rank = rank;
  fs::create_directories(end->folder);
  write_file(end->presence(rank), "", 0);
  *communicator = new ncclComm{std::move(end), ""};
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t* state) {
  if (communicator->connecting) {
    communicator->connecting =
        !fs::exists(communicator->end->presence(1 - communicator->end->rank));
  } else if (communicator->looks_left > 0) {
    --communicator->looks_left;
  }
  const bool done = !communicator->connecting && communicator->looks_left == 0;
  *state = done ? ncclSuccess : ncclInProgress;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t communicator) {
  if (communicator->finalized) return refuse(communicator, "the communicator was finalized");
  communicator->finalized = true;
  return begin(communicator);
}

ncclResult_t ncclCommDestroy(ncclComm_t communicator) {
  if (!communicator->finalized || communicator->looks_left > 0) {
    return refuse(communicator, "the communicator was not finalized");
  }
  return ncclCommAbort(communicator);
}

ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  End& end = *communicator->end;
  end.aborted = true;
  // The folder goes with the last of both, and with the messages that nobody takes any more.
  std::error_code ignored;
  write_file(end.folder / fmt::format("gone-{}", end.rank), "", 0);
  if (fs::exists(end.folder / fmt::format("gone-{}", 1 - end.rank), ignored)) {
    fs::remove_all(end.folder, ignored);
  }
  delete communicator;
  return ncclSuccess;
}

ncclResult_t ncclSend(const void* bytes,
                      std::size_t count,
                      ncclDataType_t type,
                      int peer,
                      ncclComm_t communicator,
                      cudaStream_t stream) {
  if (const char* why = objection(*communicator, count, type, peer)) {
    return refuse(communicator, why);
  }
  static_cast<void>(check_range(bytes, count, "ncclSend"));
  const auto end = communicator->end;
  const fs::path file = end->file(end->rank, end->num_sent++);
  enqueue_attempts(stream, "ncclSend", [=, sent = false]() mutable {
    if (end->aborted) return true;
    if (!sent) write_file(file, bytes, count);
    sent = true;
    return !fs::exists(file);
  });
  return begin(communicator);
}

ncclResult_t ncclRecv(void* bytes,
                      std::size_t count,
                      ncclDataType_t type,
                      int peer,
                      ncclComm_t communicator,
                      cudaStream_t stream) {
  if (const char* why = objection(*communicator, count, type, peer)) {
    return refuse(communicator, why);
  }
  static_cast<void>(check_range(bytes, count, "ncclRecv"));
  const auto end = communicator->end;
  const fs::path file = end->file(peer, end->num_received++);
  enqueue_attempts(stream, "ncclRecv", [=] {
    if (end->aborted) return true;
    if (!fs::exists(file)) return false;
    const std::vector<char> message = read_file(file);
    if (message.size() != count) {
      fail(fmt::format("{} bytes were sent, {} are to be received", message.size(), count));
    }
    std::memcpy(bytes, message.data(), count);
    fs::remove(file);
    return true;
  });
  return begin(communicator);
}
