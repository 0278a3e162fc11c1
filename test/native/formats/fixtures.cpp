#include "fixtures.h"

#include <cstring>

using namespace latent;

namespace {

template <typename T>
std::vector<double> widened(const std::vector<uint8_t> & bytes) {
    std::vector<double> values(bytes.size() / sizeof(T));
    for (size_t i = 0; i < values.size(); ++i) {
        T value;
        std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
        values[i] = static_cast<double>(value);
    }
    return values;
}

std::vector<double> dequantised(const std::vector<uint8_t> & bytes) {  // Q8_0: a half, then 32 signed bytes
    std::vector<double> values;
    for (size_t block = 0; block + 34 <= bytes.size(); block += 34) {
        const float scale = half_to_float(static_cast<uint16_t>(bytes[block] | bytes[block + 1] << 8));
        for (size_t i = 0; i < 32; ++i) values.push_back(scale * static_cast<float>(static_cast<int8_t>(bytes[block + 2 + i])));
    }
    return values;
}

}  // namespace

std::vector<double> tensor_values(const TensorSource & source, const TensorInfo & tensor) {
    if (tensor.dtype == DType::i64 || tensor.dtype == DType::f64 || tensor.dtype == DType::q8_0) {
        std::vector<uint8_t> bytes(static_cast<size_t>(tensor.bytes));
        source.read(tensor, bytes.data());
        if (tensor.dtype == DType::q8_0) return dequantised(bytes);
        return tensor.dtype == DType::i64 ? widened<int64_t>(bytes) : widened<double>(bytes);
    }
    const std::vector<float> values = source.read_f32(tensor);
    return {values.begin(), values.end()};
}

uint64_t read_everything(const TensorSource & source) {
    uint64_t total = source.metadata_json().size();
    for (const TensorInfo & tensor : source.tensors()) {
        const std::vector<uint8_t> canary(16, 0xa5);
        std::vector<uint8_t> bytes(static_cast<size_t>(tensor.bytes) + canary.size(), 0xa5);
        source.read(tensor, bytes.data());
        if (!std::equal(canary.begin(), canary.end(), bytes.end() - 16)) throw std::logic_error("read() wrote too far");
        const Span<const uint8_t> view = source.view(tensor);
        if (!view.empty() && (view.size() != tensor.bytes || std::memcmp(view.data(), bytes.data(), view.size()) != 0)) {
            throw std::logic_error("view() and read() differ");
        }
        if (!dtype_is_quantised(tensor.dtype)) total += source.read_f32(tensor).size();
        source.release(tensor);
        total += tensor.bytes;
    }
    return total;
}
