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
/// Looks up a storage key; throws model_format if the file has no such storage.
using StorageLookup = std::function<StorageRange(std::string_view key)>;

/// A view into a storage, checked: every element lies inside the file.
struct StridedTensor {
    TensorInfo info;
    uint64_t offset = 0;            // of the first element, absolute
    uint64_t extent = 0;            // bytes from the first to just past the last element in the storage
    std::vector<uint64_t> strides;  // in elements
    bool contiguous = true;
};

/// Finds the named tensors of an unpickled checkpoint: those of the wrapper (`state_dict`, `params_ema`, `params`) if there is
/// one, else of the whole dictionary; nested dictionaries give dotted names; a `module.` prefix that all names share is removed.
/// `name` is the file's name for messages, `limit` the size of the file.
std::vector<StridedTensor> collect_tensors(const Unpickler & pickle, ValueId root, const std::string & name, uint64_t limit,
                                           const StorageLookup & find_storage);

/// The scalars and texts beside the tensors (epoch, global_step, ...), as a JSON object.
std::string collect_metadata(const Unpickler & pickle, ValueId root);

/// A checkpoint's description of one storage.
struct StorageRecord {
    std::string_view key;
    uint64_t count = 0;           // of elements
    DType dtype = DType::opaque;  // opaque: a class whose elements cannot be read
    bool untyped = false;         // `count` is in bytes; each tensor has its own type
    uint64_t element_bytes = 0;   // 0: unknown class
    std::string_view class_name;  // of an opaque storage
};

/// False if the record is malformed.
bool read_storage_record(const Unpickler & pickle, ValueId storage, StorageRecord & record);

}  // namespace latent::formats
