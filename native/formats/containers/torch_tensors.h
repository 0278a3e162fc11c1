#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/mapped_file.h"
#include "core/tensor_source.h"
#include "formats/containers/unpickler.h"

namespace latent::formats {

/// Where a storage's bytes lie in the file.
struct StorageRange {
    uint64_t offset = 0, bytes = 0;
};
/// Looks a storage key up; throws model_format where the file has no such storage.
using StorageLookup = std::function<StorageRange(std::string_view key)>;

/// A view into a storage, checked: every element lies inside the file.
struct StridedTensor {
    TensorInfo info;
    uint64_t offset = 0;            // of the first element, absolute
    uint64_t extent = 0;            // bytes from the first to behind the last element in the storage
    std::vector<uint64_t> strides;  // in elements
    bool contiguous = true;
};

/// Finds the named tensors of an unpickled checkpoint: those of the wrapper (`state_dict`, `params_ema`, `params`) where there is
/// one, else of the whole dictionary; nested dictionaries give dotted names, a `module.` that all names share is cut off.
/// `name` is the file's name for messages, `limit` the size of the file.
std::vector<StridedTensor> collect_tensors(const Unpickler & pickle, ValueId root, const std::string & name, uint64_t limit,
                                           const StorageLookup & find_storage);

/// The scalars and texts beside the tensors (epoch, global_step, ...), as a JSON object.
std::string collect_metadata(const Unpickler & pickle, ValueId root);

/// The class of a storage record's elements and their count. False where the record is malformed or the class is unknown.
bool storage_type(const Unpickler & pickle, ValueId storage, DType & dtype, bool & untyped, std::string_view & key,
                  uint64_t & count);

/// Key and element count of a storage whose class is none that is known here. False where the record is malformed or the class is
/// known.
bool unknown_storage(const Unpickler & pickle, ValueId storage, std::string_view & key, uint64_t & count);

}  // namespace latent::formats
