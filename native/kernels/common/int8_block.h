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

/// sums[6][kVectors] of one block. A separate function, because GCC otherwise keeps the sums in memory.
template <typename I, int kVectors>
LATENT_NO_INLINE void multiply_block_sums(int64_t lanes, const uint8_t * const * rows, int64_t offset, const int8_t * panel,
                                          typename I::Vector * out) {
    typename I::Vector sums[kTileRows][kVectors];
    const uint8_t * a[kTileRows];
    LATENT_UNROLL_ALL
    for (int r = 0; r < kTileRows; ++r) {
        a[r] = rows[r] + offset;
        LATENT_UNROLL_ALL
        for (int v = 0; v < kVectors; ++v) sums[r][v] = I::zero();
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
        for (int v = 0; v < kVectors; ++v) out[r * kVectors + v] = sums[r][v];
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
            multiply_block_sums<I, kVectors>(last - first, rows, first * 4, panel, sums);
            panel += (last - first) * kTileColumns * 4;
            const bool add = accumulate || s > 0 || block > 0;
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
