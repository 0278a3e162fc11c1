#pragma once

#include <string_view>
#include <unordered_map>

#include "formats/containers/bytes.h"
#include "formats/containers/torch_tensors.h"
#include "formats/containers/unpickler.h"

namespace latent::formats {

using StorageRanges = std::unordered_map<std::string_view, StorageRange>;

/// Finds the storages of a checkpoint from before torch 1.6. They follow the last pickle in the order of the list `keys`: an
/// element count of 64 bits each, then the elements. The element size is not stored; it follows from the storage's class. For
/// unknown classes it is found by trying 1, 2, 4, 8 and 16 bytes: every count has to match the pickled object's, and the last
/// storage has to end with the file. Storages of unknown classes are left out of the result. Throws model_format if no sizes fit,
/// or several that place a known storage differently.
StorageRanges place_legacy_storages(const Unpickler & pickle, ValueId keys, ByteReader reader);

}  // namespace latent::formats
