#include "formats/quantise.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "core/error.h"
#include "ggml.h"

namespace latent::formats {

namespace {

ggml_type ggml_type_of(DType type) {
    switch (type) {
        case DType::q4_0: return GGML_TYPE_Q4_0;
        case DType::q4_1: return GGML_TYPE_Q4_1;
        case DType::q5_0: return GGML_TYPE_Q5_0;
        case DType::q5_1: return GGML_TYPE_Q5_1;
        case DType::q8_0: return GGML_TYPE_Q8_0;
        case DType::q2_k: return GGML_TYPE_Q2_K;
        case DType::q3_k: return GGML_TYPE_Q3_K;
        case DType::q4_k: return GGML_TYPE_Q4_K;
        case DType::q5_k: return GGML_TYPE_Q5_K;
        case DType::q6_k: return GGML_TYPE_Q6_K;
        default: throw Error(ErrorCode::internal, std::string(dtype_name(type)) + " is no block type");
    }
}

/// Rows [begin, end).
void quantise_rows(DType type, Span<float> values, int64_t inner, int64_t begin, int64_t end, uint8_t * destination) {
    float * const first = values.data() + begin * inner;
    const int64_t count = (end - begin) * inner;
    uint8_t * out = destination + dtype_bytes(type, begin * inner);
    switch (type) {
        case DType::f32: std::memcpy(out, first, static_cast<size_t>(count) * sizeof(float)); return;
        case DType::f16:
        case DType::bf16:
            for (int64_t i = 0; i < count; ++i) {
                const uint16_t bits = type == DType::f16 ? float_to_half(first[i]) : float_to_bfloat(first[i]);
                std::memcpy(out + 2 * i, &bits, 2);
            }
            return;
        default: break;
    }
    // The reciprocal of a scale this small would be infinite; such values are nothing beside any other weight.
    for (int64_t i = 0; i < count; ++i) {
        if (std::fabs(first[i]) < 1e-30f) first[i] = 0;
    }
    ggml_quantize_chunk(ggml_type_of(type), first, out, 0, end - begin, inner, nullptr);
}

}  // namespace

uint64_t dtype_bytes(DType type, int64_t count) {
    return static_cast<uint64_t>(count / dtype_block(type)) * static_cast<uint64_t>(dtype_block_bytes(type));
}

void dequantise(DType type, const uint8_t * source, float * destination, int64_t count) {
    if (!dtype_is_quantised(type)) {
        convert_to_f32(type, source, destination, count);
        return;
    }
    // ggml reads halves inside the blocks; a copy gives it the alignment that a file does not promise.
    std::vector<uint16_t> aligned(static_cast<size_t>(dtype_bytes(type, count) + 1) / 2);
    std::memcpy(aligned.data(), source, static_cast<size_t>(dtype_bytes(type, count)));
    ggml_get_type_traits(ggml_type_of(type))->to_float(aligned.data(), destination, count);
}

void quantise(DType type, Span<float> values, int64_t inner, uint8_t * destination, int threads) {
    const int64_t rows = inner > 0 ? static_cast<int64_t>(values.size()) / inner : 0;
    const int64_t workers = std::max<int64_t>(1, std::min<int64_t>({threads, rows, 64}));
    if (dtype_is_quantised(type)) ggml_quantize_init(ggml_type_of(type));
    std::vector<std::thread> pool;
    const auto work = [&](int64_t i) {
        quantise_rows(type, values, inner, rows * i / workers, rows * (i + 1) / workers, destination);
    };
    pool.reserve(static_cast<size_t>(workers));
    for (int64_t i = 1; i < workers; ++i) {
        try {
            pool.emplace_back(work, i);
        } catch (const std::exception &) {
            work(i);  // no thread to be had
        }
    }
    work(0);
    for (std::thread & thread : pool) thread.join();
}

float largest_magnitude(Span<const float> values) {
    float largest = 0;
    bool finite = true;
    for (const float value : values) {
        finite = finite && std::isfinite(value);
        largest = std::max(largest, std::fabs(value));
    }
    return finite ? largest : std::numeric_limits<float>::infinity();
}

}  // namespace latent::formats
