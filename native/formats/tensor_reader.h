#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/tensor_source.h"

namespace latent::formats {

/// The stored tensors of one file (or folder of shards), whatever model they belong to. Used from one thread at a time.
class TensorReader {
public:
    /// Throws as open_model_file().
    TensorReader(const std::string & path_utf8, const std::string & variant);

    const TensorSource & source() const { return *source_; }
    /// { tensors: [{ name, type, shape, bytes, readable }] } in the order of the file.
    Json list() const;

    /// Elements [offset, offset + count) as float32, whatever their stored type. Throws invalid_argument outside the tensor or
    /// inside a block, model_format if the type cannot be read as numbers.
    std::vector<uint8_t> floats(size_t tensor, uint64_t offset, uint64_t count);
    /// Bytes [offset, offset + count) of the contiguous tensor in its own type, little-endian.
    std::vector<uint8_t> bytes(size_t tensor, uint64_t offset, uint64_t count);

private:
    const TensorInfo & tensor_at(size_t tensor) const;
    /// All bytes of a tensor: in the file, or, if it is not stored contiguously, a copy that is kept for the next call.
    Span<const uint8_t> stored(const TensorInfo & tensor);

    TensorSourcePtr source_;
    std::vector<uint8_t> copy_;
    size_t copied_ = SIZE_MAX;
};

}  // namespace latent::formats
