// SPDX-License-Identifier: Apache-2.0
// The files of a stage are the same bytes whoever holds its parameters and moments.
#include "engine/runtime/state/stage_files.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "engine/checkpoint/model_directory.h"
#include "kernels/core/bfloat16.h"
#include "kernels/core/error.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/engine/checkpoint/scratch_directory.h"
#include "tests/engine/runtime/held_slices.h"

namespace halfpipe::runtime {
namespace {

namespace fs = std::filesystem;
using checkpoint::ScratchDirectory;

config::RunConfig small_model(DType moments, bool bias) {
  config::RunConfig config;
  config.model.num_layers = 2;
  config.model.num_heads = 2;
  config.model.hidden_size = 8;
  config.model.seq_len = 5;
  config.model.vocab_size = 29;
  config.model.bias = bias;
  config.optimizer.moments = moments;
  return config;
}

/// The first of two stages.
constexpr model::StageLayers kLayers{
    .stage = 0, .first_block = 0, .num_blocks = 1, .has_embedding = true, .has_head = false};

std::vector<BFloat16> rounded(const std::vector<float>& values) {
  std::vector<BFloat16> result(values.size());
  std::ranges::transform(values, result.begin(), to_bfloat16);
  return result;
}

/// Tensor ranks cut parameters; of the moments of its slice, a replica holds the elements that are
/// its share of them.
struct Grid {
  int num_replicas;
  int num_tensor_ranks;
};

/// One of the ranks of a grid, with its part of the state of kLayers.
class Holder {
 public:
  Holder(const fs::path& directory, const config::RunConfig& config, const Grid& grid, int rank)
      : config_(config),
        grid_(grid),
        replica_(rank / grid.num_tensor_ranks),
        tensor_rank_(rank % grid.num_tensor_ranks),
        files_(directory, config, kLayers, 2) {}

  [[nodiscard]] StageFiles& files() { return files_; }

  void write() {
    const auto backend = cpu::make_cpu_backend(1);
    const auto stream = backend->make_stream("compute");
    HostWindow window(*backend, *stream, 64);
    for (const model::ParameterSpec& spec : model::all_parameters(config_.model)) {
      if (files_.hold(spec)) write(spec, window);
    }
    files_.close();
  }

 private:
  void write(const model::ParameterSpec& spec, HostWindow& window) {
    const TensorSlice slice = grid_.num_tensor_ranks == 1
                                  ? TensorSlice::whole(spec.shape.num_elements())
                                  : uneven_slice(spec, tensor_rank_, grid_.num_tensor_ranks);
    if (slice.is_whole() && tensor_rank_ > 0) return;
    const model::Parameter parameter{.spec = spec, .slice = slice};
    if (replica_ == 0) {
      const std::vector<float> values = held_values(spec.name, slice);
      files_.write(
          {&parameter, StateKind::kValue, 0, slice.count(), DType::kFloat32, values.data()},
          window);
    }
    write_moment(parameter, StateKind::kFirstMoment, held_values("m " + spec.name, slice), window);
    write_moment(parameter, StateKind::kSecondMoment, held_values("v " + spec.name, slice), window);
  }

  /// This replica's share of it.
  void write_moment(const model::Parameter& parameter,
                    StateKind kind,
                    const std::vector<float>& moment,
                    HostWindow& window) {
    const std::int64_t first = parameter.count() * replica_ / grid_.num_replicas;
    const std::int64_t last = parameter.count() * (replica_ + 1) / grid_.num_replicas;
    const DType dtype = config_.optimizer.moments;
    const std::vector<BFloat16> in_bfloat16 = rounded(moment);
    const void* values = moment.data() + first;
    if (dtype == DType::kBFloat16) values = in_bfloat16.data() + first;
    files_.write({&parameter, kind, first, last, dtype, values}, window);
  }

  const config::RunConfig& config_;
  Grid grid_;
  int replica_;
  int tensor_rank_;
  StageFiles files_;
};

/// The bytes of the two files of the stage, as the ranks of a grid write them.
std::map<std::string, std::string> files_of(const config::RunConfig& config, const Grid& grid) {
  const ScratchDirectory scratch;
  std::vector<std::unique_ptr<Holder>> ranks;
  for (int rank = 0; rank < grid.num_replicas * grid.num_tensor_ranks; ++rank) {
    ranks.push_back(std::make_unique<Holder>(scratch.path(), config, grid, rank));
  }
  ranks[0]->files().create();
  on_ranks(static_cast<int>(ranks.size()), [&](int rank, transport::Transport& /*transport*/) {
    ranks[static_cast<std::size_t>(rank)]->write();
  });
  StageFiles::Written all;
  for (const auto& rank : ranks) {
    for (std::size_t i = 0; i < all.size(); ++i) all[i] += rank->files().written()[i];
  }
  ranks[0]->files().finish(all);
  std::map<std::string, std::string> files;
  for (const auto& item : fs::directory_iterator(scratch.path())) {
    files[item.path().filename()] = checkpoint::read_bytes(item.path());
  }
  return files;
}

TEST(StageFiles, AreTheSameBytesOnAnyGrid) {
  for (const DType moments : {DType::kFloat32, DType::kBFloat16}) {
    for (const bool bias : {true, false}) {
      const config::RunConfig config = small_model(moments, bias);
      const auto one = files_of(config, {1, 1});
      ASSERT_EQ(one.size(), 2U);
      ASSERT_TRUE(one.contains("optimizer-00001-of-00002.safetensors"));
      for (const Grid& grid : {Grid{1, 2}, Grid{1, 3}, Grid{3, 1}, Grid{2, 2}}) {
        EXPECT_EQ(files_of(config, grid), one)
            << grid.num_replicas << " replicas, " << grid.num_tensor_ranks << " tensor ranks";
      }
    }
  }
}

TEST(StageFiles, HoldTheStatesOfTheirNames) {
  const config::RunConfig config = small_model(DType::kFloat32, true);
  const ScratchDirectory scratch;
  for (const auto& [name, bytes] : files_of(config, {2, 2})) {
    checkpoint::write_bytes(scratch / name, bytes);
  }
  const checkpoint::SafetensorsFile model(checkpoint::model_shard(scratch.path(), 0, 2));
  const checkpoint::SafetensorsFile optimizer(checkpoint::optimizer_shard(scratch.path(), 0, 2));
  const auto expect = [](const checkpoint::SafetensorsFile& file, const std::string& tensor,
                         const std::string& values, std::int64_t count) {
    std::vector<float> read(static_cast<std::size_t>(count));
    ASSERT_NE(file.find_or_null(tensor), nullptr) << tensor;
    file.read_float32(*file.find_or_null(tensor), read);
    EXPECT_EQ(read, whole_values(values, count)) << tensor;
  };
  std::size_t num_parameters = 0;
  for (const model::ParameterSpec& spec : model::all_parameters(config.model)) {
    const bool is_here =
        spec.name.find(".h.1.") == std::string::npos && spec.name.find("ln_f") == std::string::npos;
    if (!is_here) continue;
    ++num_parameters;
    const std::int64_t count = spec.shape.num_elements();
    expect(model, spec.name, spec.name, count);
    expect(optimizer, checkpoint::exp_avg_name(spec.name), "m " + spec.name, count);
    expect(optimizer, checkpoint::exp_avg_sq_name(spec.name), "v " + spec.name, count);
  }
  EXPECT_EQ(model.tensors().size(), num_parameters);
  EXPECT_EQ(optimizer.tensors().size(), 2 * num_parameters);
}

TEST(StageFiles, MissTheStateOfARankThatDidNotWrite) {
  const ScratchDirectory scratch;
  const config::RunConfig config = small_model(DType::kFloat32, true);
  Holder first(scratch.path(), config, {1, 2}, 0);
  first.files().create();
  first.write();
  EXPECT_THROW(first.files().finish(first.files().written()), InternalError);
}

}  // namespace
}  // namespace halfpipe::runtime
