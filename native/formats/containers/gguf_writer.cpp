#include "formats/containers/gguf_writer.h"

#include "core/error.h"

namespace latent::formats {

namespace {

void put(std::vector<uint8_t> & out, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void put_text(std::vector<uint8_t> & out, const std::string & text) {
    put(out, text.size(), 8);
    out.insert(out.end(), text.begin(), text.end());
}

uint64_t ggml_number(DType type) {
    const int number = dtype_ggml_number(type);
    if (number < 0) throw Error(ErrorCode::internal, std::string("GGUF files are not written with ") + dtype_name(type));
    return static_cast<uint64_t>(number);
}

}  // namespace

uint64_t gguf_padding(uint64_t bytes) {
    return (gguf_alignment - bytes % gguf_alignment) % gguf_alignment;
}

std::vector<uint8_t> gguf_header(const std::vector<GgufValue> & values, const std::vector<GgufTensor> & tensors) {
    std::vector<uint8_t> out = {'G', 'G', 'U', 'F'};
    put(out, 3, 4);
    put(out, tensors.size(), 8);
    put(out, values.size(), 8);
    for (const GgufValue & value : values) {
        put_text(out, value.key);
        put(out, value.is_number ? 4 : 8, 4);  // uint32 | string
        if (value.is_number) {
            put(out, value.number, 4);
        } else {
            put_text(out, value.text);
        }
    }
    uint64_t offset = 0;
    for (const GgufTensor & tensor : tensors) {
        put_text(out, tensor.name);
        const size_t rank = tensor.shape.empty() ? 1 : tensor.shape.size();
        put(out, rank, 4);
        if (tensor.shape.empty()) put(out, 1, 8);
        for (size_t i = tensor.shape.size(); i-- > 0;) put(out, static_cast<uint64_t>(tensor.shape[i]), 8);
        put(out, ggml_number(tensor.dtype), 4);
        put(out, offset, 8);
        offset += tensor.bytes + gguf_padding(tensor.bytes);
    }
    out.resize(out.size() + gguf_padding(out.size()), 0);
    return out;
}

}  // namespace latent::formats
