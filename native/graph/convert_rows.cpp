#include "graph/convert_rows.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <thread>
#include <vector>

#include "core/k_quants.h"
#include "graph/portable/ggml_handles.h"

namespace latent::graph {

namespace {

size_t row_bytes(DType type, int64_t inner) {
    return static_cast<size_t>(inner / dtype_block(type) * dtype_block_bytes(type));
}

void row_from_f32(DType to, const float * values, uint8_t * out, int64_t inner) {
    switch (to) {
        case DType::f32: std::memcpy(out, values, static_cast<size_t>(inner) * sizeof(float)); break;
        case DType::f16: ggml_cpu_fp32_to_fp16(values, reinterpret_cast<ggml_fp16_t *>(out), inner); break;
        case DType::bf16: ggml_cpu_fp32_to_bf16(values, reinterpret_cast<ggml_bf16_t *>(out), inner); break;
        default:
            if (is_k_quant(to)) return quantise_k(to, values, inner, out);
            ggml_quantize_chunk(to_ggml(to), values, out, 0, 1, inner, nullptr);
    }
}

void convert_range(DType from, const uint8_t * source, DType to, uint8_t * destination, int64_t first, int64_t last,
                   int64_t inner) {
    const size_t from_row = row_bytes(from, inner), to_row = row_bytes(to, inner);
    if (inner % dtype_block(from) != 0) {
        std::vector<float> values(static_cast<size_t>((last - first) * inner));
        rows_to_f32(from, source, first, last, inner, values.data());
        for (int64_t row = first; row < last; ++row) {
            row_from_f32(to, values.data() + (row - first) * inner, destination + row * to_row, inner);
        }
        return;
    }
    if (from == to) {
        std::memcpy(destination + first * to_row, source + first * from_row, static_cast<size_t>(last - first) * to_row);
        return;
    }
    std::vector<float> values(to == DType::f32 ? 0 : static_cast<size_t>(inner));
    for (int64_t row = first; row < last; ++row) {
        uint8_t * out = destination + row * to_row;
        if (to == DType::f32) {
            row_to_f32(from, source + row * from_row, reinterpret_cast<float *>(out), inner);
        } else {
            row_to_f32(from, source + row * from_row, values.data(), inner);
            row_from_f32(to, values.data(), out, inner);
        }
    }
}

}  // namespace

uintptr_t block_alignment(DType type) {
    if (!dtype_is_quantised(type)) return static_cast<uintptr_t>(dtype_block_bytes(type));
    return dtype_block_bytes(type) % 4 == 0 ? 4 : 2;
}

void row_to_f32(DType from, const uint8_t * source, float * out, int64_t inner) {
    // Files guarantee no alignment, so ggml's readers of elements wider than a byte get an aligned copy.
    const bool aligned = reinterpret_cast<uintptr_t>(source) % block_alignment(from) == 0;
    if (dtype_is_quantised(from)) {
        std::vector<uint8_t> copy;
        if (!aligned) {
            copy.assign(source, source + row_bytes(from, inner));
            source = copy.data();
        }
        ggml_get_type_traits(to_ggml(from))->to_float(source, out, inner);
    } else if (from == DType::f16 && aligned) {
        ggml_cpu_fp16_to_fp32(reinterpret_cast<const ggml_fp16_t *>(source), out, inner);
    } else {
        convert_to_f32(from, source, out, inner);
    }
}

void rows_to_f32(DType from, const uint8_t * source, int64_t first, int64_t last, int64_t inner, float * out) {
    const int64_t block = dtype_block(from), begin = first * inner, end = last * inner;
    const int64_t outer_begin = begin / block * block, outer_end = (end + block - 1) / block * block;
    source += outer_begin / block * dtype_block_bytes(from);
    if (outer_begin == begin && outer_end == end) return row_to_f32(from, source, out, end - begin);
    std::vector<float> blocks(static_cast<size_t>(outer_end - outer_begin));
    row_to_f32(from, source, blocks.data(), outer_end - outer_begin);
    std::copy_n(blocks.begin() + (begin - outer_begin), end - begin, out);
}

void convert_rows(DType from, const void * source, DType to, void * destination, int64_t rows, int64_t inner, int threads) {
    if (dtype_is_quantised(to) && from != to) ggml_quantize_init(to_ggml(to));  // builds shared tables, which is not thread-safe
    const auto * in = static_cast<const uint8_t *>(source);
    auto * out = static_cast<uint8_t *>(destination);
    const int64_t chunk = std::max<int64_t>(1, (int64_t{1} << 18) / std::max<int64_t>(1, inner));
    const int64_t chunks = (rows + chunk - 1) / chunk;
    const int workers = static_cast<int>(std::min<int64_t>(std::max(1, threads), chunks));

    std::atomic<int64_t> next{0};
    std::vector<std::exception_ptr> failures(static_cast<size_t>(workers));
    const auto work = [&](int worker) {
        try {
            for (int64_t c = next++; c < chunks; c = next++) {
                convert_range(from, in, to, out, c * chunk, std::min(rows, (c + 1) * chunk), inner);
            }
        } catch (...) {
            failures[static_cast<size_t>(worker)] = std::current_exception();
        }
    };
    std::vector<std::thread> pool;
    pool.reserve(static_cast<size_t>(workers));
    for (int worker = 1; worker < workers; ++worker) {
        try {
            pool.emplace_back(work, worker);
        } catch (const std::exception &) {
            break;  // no thread or no memory for one: continue with fewer
        }
    }
    work(0);
    for (std::thread & thread : pool) thread.join();
    for (const std::exception_ptr & failure : failures) {
        if (failure) std::rethrow_exception(failure);
    }
}

ggml_type to_ggml(DType type) {
    const int number = dtype_ggml_number(type);
    return number < 0 ? GGML_TYPE_COUNT : static_cast<ggml_type>(number);
}

}  // namespace latent::graph
