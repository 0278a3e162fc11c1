#pragma once

// Integer products over a vector type I of 32-bit lanes and its float vector V (tile_f32.h), compiled once per instruction set.
//   I: Vector, kLanes, zero, set1, load, dot(sum, u8, s8): four products per lane added to the sum; to_float(Vector) -> V
// Include from int8_*.cpp only.

#include <math.h>

#include "kernels/common/int8.h"
#include "kernels/common/tile_f32.h"

namespace latent::kernels {
namespace {

#if defined(__GNUC__)
#define LATENT_NO_INLINE __attribute__((noinline))
#else
#define LATENT_NO_INLINE
#endif

/// out[6][kVectors], rows `out_stride` bytes apart: the sums of one block, beginning with start[kVectors] if kStart, else with
/// zero. A separate function that stores whole numbers, because GCC otherwise keeps the sums in memory.
template <typename I, int kVectors, bool kStart>
LATENT_NO_INLINE void multiply_block_sums(int64_t lanes, const uint8_t * const * rows, int64_t offset, const int8_t * panel,
                                          const int32_t * start, uint8_t * out, int64_t out_stride) {
    typename I::Vector sums[kTileRows][kVectors];
    const uint8_t * a[kTileRows];
    LATENT_UNROLL_ALL
    for (int r = 0; r < kTileRows; ++r) {
        a[r] = rows[r] + offset;
        LATENT_UNROLL_ALL
        for (int v = 0; v < kVectors; ++v)
            sums[r][v] = kStart ? I::load(reinterpret_cast<const int8_t *>(start + v * I::kLanes)) : I::zero();
    }
    for (int64_t i = 0; i < lanes; ++i, panel += kTileColumns * 4) {
        typename I::Vector b[kVectors];
        LATENT_UNROLL_ALL
        for (int v = 0; v < kVectors; ++v) b[v] = I::load(panel + v * I::kLanes * 4);
        LATENT_UNROLL_ALL
        for (int r = 0; r < kTileRows; ++r) {
            int32_t quad;
            std::memcpy(&quad, a[r] + i * 4, sizeof(quad));
            const typename I::Vector x = I::set1(quad);
            LATENT_UNROLL_ALL
            for (int v = 0; v < kVectors; ++v) sums[r][v] = I::dot(sums[r][v], x, b[v]);
        }
    }
    LATENT_UNROLL_ALL
    for (int r = 0; r < kTileRows; ++r) {
        LATENT_UNROLL_ALL
        for (int v = 0; v < kVectors; ++v) std::memcpy(out + r * out_stride + v * I::kLanes * 4, &sums[r][v], sizeof(sums[r][v]));
    }
}

/// c[6][kVectors] = (add ? c : 0) + the scaled sums of one block of channels, with its constants.
template <typename I, typename V, int kVectors>
inline void add_scaled(const typename I::Vector * sums, const Int8Scale * const * scales, int64_t block,
                       const float * weight_sums, bool add, float * c) {
    for (int r = 0; r < kTileRows; ++r) {
        const V scale = V::set1(scales[r][block].scale), offset = V::set1(scales[r][block].offset);
        LATENT_UNROLL_ALL
        for (int v = 0; v < kVectors; ++v) {
            float * at = c + r * kTileColumns + v * V::kLanes;
            const V before = add ? V::load(at) : V::zero();
            const V constant = V::fma(offset, V::load(weight_sums + v * V::kLanes), before);
            V::fma(scale, I::to_float(sums[r * kVectors + v]), constant).store(at);
        }
    }
}

template <typename I, typename V, int kVectors>
void multiply_int8_block(int64_t segments, const Int8Blocks & blocks, const uint8_t * const * rows,
                         const Int8Scale * const * scales, const int8_t * panel, const float * weight_sums, bool accumulate,
                         float * c) {
    typename I::Vector sums[kTileRows * kVectors];
    for (int64_t s = 0; s < segments; ++s, rows += kTileRows, scales += kTileRows) {
        for (int64_t block = 0; block < blocks.count; ++block, weight_sums += kTileColumns) {
            const int64_t first = block * blocks.block_lanes,
                          last = first + blocks.block_lanes < blocks.lanes ? first + blocks.block_lanes : blocks.lanes;
            multiply_block_sums<I, kVectors, false>(last - first, rows, first * 4, panel, nullptr,
                                                    reinterpret_cast<uint8_t *>(sums), sizeof(sums) / kTileRows);
            panel += (last - first) * kTileColumns * 4;
            add_scaled<I, V, kVectors>(sums, scales, block, weight_sums, accumulate || s > 0 || block > 0, c);
        }
    }
}

template <typename I, typename V, int kVectors>
void multiply_int8(int64_t segments, const Int8Blocks & blocks, const uint8_t * const * rows, const Int8Scale * const * scales,
                   const int8_t * panel, const float * sums, int columns, bool accumulate, float * c) {
    int column = 0;
    for (; column + (kVectors - 1) * I::kLanes < columns; column += kVectors * I::kLanes)
        multiply_int8_block<I, V, kVectors>(segments, blocks, rows, scales, panel + column * 4, sums + column, accumulate,
                                            c + column);
    for (; column < columns; column += I::kLanes)
        multiply_int8_block<I, V, 1>(segments, blocks, rows, scales, panel + column * 4, sums + column, accumulate, c + column);
}

// ---- scores of attention ---------------------------------------------------------------------------------------------

/// The largest |x - mean|; NaN if a value is not finite. In chains, which compilers vectorise.
inline float largest_difference(const float * x, const float * mean, int64_t count) {
    constexpr int kChains = 16;
    float most[kChains] = {}, odd[kChains] = {};
    const auto take = [&](int64_t i, int chain) {
        const float difference = ::fabsf(mean ? x[i] - mean[i] : x[i]);
        most[chain] = difference > most[chain] ? difference : most[chain];
        odd[chain] += difference * 0.0f;
    };
    int64_t i = 0;
    for (; i + kChains <= count; i += kChains) {
        for (int chain = 0; chain < kChains; ++chain) take(i + chain, chain);
    }
    for (; i < count; ++i) take(i, 0);
    float out = 0.0f;
    for (int chain = 0; chain < kChains; ++chain) out = (most[chain] > out ? most[chain] : out) + odd[chain];
    return out;
}

/// Bytes round((x - mean) * factor) + 128: near kOffset, a float has no bits left for the fraction.
inline void quantise_differences(const float * x, const float * mean, int64_t count, float factor, uint8_t * q) {
    for (int64_t i = 0; i < count; ++i) {
        const float shifted = (mean ? x[i] - mean[i] : x[i]) * factor + (Int8Scores::kOffset + 128.0f);
        uint32_t bits;
        std::memcpy(&bits, &shifted, sizeof(bits));
        q[i] = static_cast<uint8_t>(bits);
    }
}

/// 127 / most and the scale it stands for; both 0 for values that are practically zero.
inline float score_factor(float most, float * scale) {
    *scale = most < 1e-30f                               ? 0.0f
             : most <= std::numeric_limits<float>::max() ? most / 127.0f
                                                         : std::numeric_limits<float>::quiet_NaN();
    return *scale > 0.0f ? 127.0f / most : 0.0f;
}

inline float quantise_keys(const float * x, int64_t stride, int64_t keys, int64_t dim, const float * mean, int64_t row_bytes,
                           uint8_t * rows) {
    float most = 0.0f, scale;
    for (int64_t key = 0; key < keys; ++key) {
        const float of_key = largest_difference(x + key * stride, mean, dim);
        most = most >= of_key ? most : of_key;  // keeps NaN
        if (!(most == most)) break;
    }
    const float factor = score_factor(most, &scale);
    if (factor == 0.0f) {
        std::memset(rows, 128, static_cast<size_t>(keys * row_bytes));
        return scale;
    }
    for (int64_t key = 0; key < keys; ++key, rows += row_bytes) {
        quantise_differences(x + key * stride, mean, dim, factor, rows);
        for (int64_t d = dim; d < row_bytes; ++d) rows[d] = 128;
    }
    return scale;
}

inline float pack_queries(const float * x, int64_t stride, int queries, int64_t dim, int8_t * panel, int32_t * start) {
    constexpr int kColumns = 16, kChunk = 64;  // a cache line of a panel, and of a query's bytes
    float most = 0.0f, scale;
    for (int query = 0; query < queries; ++query) {
        const float of_query = largest_difference(x + query * stride, nullptr, dim);
        most = most >= of_query ? most : of_query;
        if (!(most == most)) break;
    }
    const float factor = score_factor(most, &scale);
    const float offset = Int8Scores::kOffset;
    for (int i = 0; i < kTileColumns; ++i) std::memcpy(start + i, &offset, sizeof(offset));
    for (int column = 0; column < kTileColumns; column += kColumns) {
        for (int64_t first = 0; first < dim; first += kChunk) {
            const int64_t count = dim - first < kChunk ? dim - first : kChunk, lanes = (count + 3) / 4;
            uint8_t bytes[kColumns][kChunk];
            std::memset(bytes, 128, sizeof(bytes));
            for (int i = 0; i < kColumns && column + i < queries && factor != 0.0f; ++i)
                quantise_differences(x + (column + i) * stride + first, nullptr, count, factor, bytes[i]);
            for (int i = 0; i < kColumns; ++i) {
                int32_t sum = 0;
                for (int j = 0; j < kChunk; ++j) {
                    bytes[i][j] = static_cast<uint8_t>(bytes[i][j] ^ 0x80);  // from q + 128 to q
                    sum += static_cast<int8_t>(bytes[i][j]);
                }
                start[column + i] -= 128 * sum;
            }
            int8_t * to = panel + (first / 4 * kTileColumns + column) * 4;
            for (int64_t lane = 0; lane < lanes; ++lane, to += kTileColumns * 4) {
                for (int i = 0; i < kColumns; ++i) std::memcpy(to + i * 4, bytes[i] + lane * 4, 4);
            }
        }
    }
    return scale;
}

template <typename I, int kVectors>
void multiply_scores(int64_t keys, int64_t lanes, const uint8_t * rows, const int8_t * panel, const int32_t * start,
                     void * scores) {
    constexpr int64_t kStride = kTileColumns * 4;
    auto * out = static_cast<uint8_t *>(scores);
    for (int64_t key = 0; key < keys; key += kTileRows, out += kTileRows * kStride) {
        const uint8_t * a[kTileRows];
        for (int r = 0; r < kTileRows; ++r) a[r] = rows + (key + r) * lanes * 4;
        for (int column = 0; column < kTileColumns; column += kVectors * I::kLanes)
            multiply_block_sums<I, kVectors, true>(lanes, a, 0, panel + column * 4, start + column, out + column * 4, kStride);
    }
}

template <typename I, int kVectors>
const Int8Scores * int8_scores() {
    static const Int8Scores scores = {quantise_keys, pack_queries, multiply_scores<I, kVectors>};
    return &scores;
}

/// The affine map of one block, from its minimum and maximum (which include 0); `clean` is false if a value is NaN.
struct Int8Map {
    Int8Scale scale;
    float factor = 0, zero = 0;  // q = round(x * factor) + zero
};

inline Int8Map int8_map(float low, float high, bool clean) {
    Int8Map map;
    const float range = high - low;
    if (!clean || !(range <= std::numeric_limits<float>::max())) {
        map.scale = {std::numeric_limits<float>::quiet_NaN(), 0.0f};
    } else if (range < 1e-30f) {
        map.scale = {0.0f, 0.0f};  // practically constant, and 1 / range would overflow
    } else {
        map.factor = 255.0f / range;
        const float scale = range / 255.0f;
        map.zero = ::nearbyintf(-low * map.factor);
        map.scale = {scale, -scale * map.zero};
    }
    return map;
}

}  // namespace
}  // namespace latent::kernels
