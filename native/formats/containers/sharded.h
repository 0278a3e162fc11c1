#pragma once

#include <functional>

#include "core/mapped_file.h"
#include "core/tensor_source.h"

namespace latent::formats {

using ShardOpener = std::function<TensorSourcePtr(const std::string & path_utf8)>;

/// Opens the shards that an `*.index.json` names (`weight_map`: tensor -> file beside the index) as one source, with the tensors
/// of the map and the index's own metadata. Shards must be plain file names; a listed tensor that is missing in its shard is an
/// error. `open_shard` must not open an index again. Throws model_format, or io for a missing shard.
TensorSourcePtr open_sharded(const MappedFilePtr & index, const ShardOpener & open_shard);

}  // namespace latent::formats
