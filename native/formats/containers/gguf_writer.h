#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor_source.h"

namespace latent::formats {

/// One tensor of a GGUF file. `shape` is as stored, outermost first.
struct GgufTensor {
    std::string name;
    DType dtype = DType::f32;
    std::vector<int64_t> shape;
    uint64_t bytes = 0;
};

struct GgufValue {
    std::string key;
    std::string text;
    uint32_t number = 0;
    bool is_number = false;
};

constexpr uint64_t gguf_alignment = 32;

/// The header of a GGUF version 3 file: metadata and tensor table, padded to the alignment. The data follow in the order of the
/// table, each tensor padded as well. The header's length depends only on names, ranks and metadata, not on types and sizes.
std::vector<uint8_t> gguf_header(const std::vector<GgufValue> & values, const std::vector<GgufTensor> & tensors);

/// Padding after `bytes` of data.
uint64_t gguf_padding(uint64_t bytes);

}  // namespace latent::formats
