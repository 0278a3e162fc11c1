#include "formats/convert/quantise.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <exception>
#include <limits>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/k_quants.h"
#include "ggml.h"

namespace latent::formats {

namespace {

ggml_type ggml_type_of(DType type) {
    if (!dtype_is_quantised(type)) throw Error(ErrorCode::internal, std::string(dtype_name(type)) + " is not a block type");
    return static_cast<ggml_type>(dtype_ggml_number(type));
}

float largest_magnitude(const float * values, int64_t count) {
    float largest = 0;
    bool finite = true;
    for (int64_t i = 0; i < count; ++i) {
        finite = finite && std::isfinite(values[i]);
        largest = std::max(largest, std::fabs(values[i]));
    }
    return finite ? largest : std::numeric_limits<float>::infinity();
}

/// Scales of blocks are stored in half precision.
float largest_value(DType type) {
    return type == DType::f32 || type == DType::bf16 ? std::numeric_limits<float>::infinity() : 65504.0f;
}

void encode(DType type, float * values, int64_t count, int64_t inner, uint8_t * out) {
    switch (type) {
        case DType::f32: std::memcpy(out, values, static_cast<size_t>(count) * sizeof(float)); return;
        case DType::f16:
        case DType::bf16:
            for (int64_t i = 0; i < count; ++i) {
                const uint16_t bits = type == DType::f16 ? float_to_half(values[i]) : float_to_bfloat(values[i]);
                std::memcpy(out + 2 * i, &bits, 2);
            }
            return;
        default: break;
    }
    // The reciprocal of a scale this small would be infinite; such values are negligible.
    for (int64_t i = 0; i < count; ++i) {
        if (std::fabs(values[i]) < 1e-30f) values[i] = 0;
    }
    if (is_k_quant(type)) return quantise_k(type, values, count, out);
    ggml_quantize_chunk(ggml_type_of(type), values, out, 0, count / inner, inner, nullptr);
}

/// Number of rows converted at a time: few enough to stay in the cache, and whole blocks of both types.
int64_t rows_at_a_time(DType from, int64_t inner) {
    constexpr int64_t kElements = int64_t{1} << 15;
    int64_t rows = std::max<int64_t>(1, kElements / std::max<int64_t>(1, inner));
    while (rows * inner % dtype_block(from) != 0) ++rows;
    return rows;
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
    // ggml reads 16-bit values inside the blocks; a copy provides the alignment that a file does not guarantee.
    std::vector<uint16_t> aligned(static_cast<size_t>(dtype_bytes(type, count) + 1) / 2);
    std::memcpy(aligned.data(), source, static_cast<size_t>(dtype_bytes(type, count)));
    ggml_get_type_traits(ggml_type_of(type))->to_float(aligned.data(), destination, count);
}

bool requantise(DType from, const uint8_t * source, DType to, uint8_t * destination, int64_t rows, int64_t inner, int threads) {
    if (dtype_is_quantised(to)) ggml_quantize_init(ggml_type_of(to));  // builds shared tables, which is not thread-safe
    const int64_t step = rows_at_a_time(from, inner), steps = (rows + step - 1) / step;
    const size_t workers = static_cast<size_t>(std::max<int64_t>(1, std::min<int64_t>({threads, steps, 64})));
    std::atomic<int64_t> next{0};
    std::vector<float> largest(workers, 0.0f);
    std::vector<std::exception_ptr> failures(workers);
    const auto work = [&](size_t worker) {
        try {
            std::vector<float> values(static_cast<size_t>(std::min(step, rows) * inner));
            for (int64_t i = next++; i < steps; i = next++) {
                const int64_t first = i * step * inner, count = std::min(step, rows - i * step) * inner;
                dequantise(from, source + dtype_bytes(from, first), values.data(), count);
                largest[worker] = std::max(largest[worker], largest_magnitude(values.data(), count));
                if (largest[worker] > largest_value(to)) return next.store(steps);  // ggml's quantisers require finite values
                encode(to, values.data(), count, inner, destination + dtype_bytes(to, first));
            }
        } catch (...) {
            failures[worker] = std::current_exception();
        }
    };
    std::vector<std::thread> pool;
    pool.reserve(workers);
    for (size_t i = 1; i < workers; ++i) {
        try {
            pool.emplace_back(work, i);
        } catch (const std::exception &) {
            break;  // no more threads available
        }
    }
    work(0);
    for (std::thread & thread : pool) thread.join();
    for (const std::exception_ptr & failure : failures) {
        if (failure) std::rethrow_exception(failure);
    }
    return *std::max_element(largest.begin(), largest.end()) <= largest_value(to);
}

}  // namespace latent::formats
