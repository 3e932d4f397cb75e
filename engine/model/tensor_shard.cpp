// SPDX-License-Identifier: Apache-2.0
#include "engine/model/tensor_shard.h"

#include "kernels/core/error.h"

namespace halfpipe::model {
namespace {

TensorSlice even_part(std::int64_t outer,
                      std::int64_t extent,
                      std::int64_t inner,
                      const TensorShard& shard) {
  HALFPIPE_CHECK(extent % shard.ranks == 0, "tensor ranks share a matrix unevenly");
  const std::int64_t part = extent / shard.ranks;
  return {outer, extent, inner, shard.rank * part, (shard.rank + 1) * part};
}

}  // namespace

TensorSlice slice_of(const Shape& shape,
                     Sharing sharing,
                     const TensorShard& shard,
                     std::int64_t rows_of_rank) {
  const std::int64_t count = shape.num_elements();
  if (!shard.is_shared()) return TensorSlice::whole(count);
  const std::int64_t last = shape.extents().back();
  switch (sharing) {
    case Sharing::kWhole:
    case Sharing::kWholeBySums:
      break;
    case Sharing::kRows: {
      const std::int64_t rows = count / last;
      if (rows_of_rank == 0) return even_part(1, rows, last, shard);
      return {1, rows, last, shard.rank * rows_of_rank, (shard.rank + 1) * rows_of_rank};
    }
    case Sharing::kColumns:
      return even_part(count / last, last, 1, shard);
    case Sharing::kColumnsOfThree:
      return even_part(3 * (count / last), last / 3, 1, shard);
  }
  return TensorSlice::whole(count);
}

}  // namespace halfpipe::model
