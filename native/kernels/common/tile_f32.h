#pragma once

// Float32 tile operations over a vector type V, compiled once per instruction set (inside the including file's namespace).
//   V: kLanes, load, store, set1, zero, add, mul, fma(a, b, c) = a * b + c, max, sum of the lanes, exp
// Not a header for other code: include it from tile_*.cpp only.

#include <cmath>
#include <cstring>
#include <limits>

#include "core/tensor_source.h"
#include "kernels/common/tile.h"

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__GNUC__)
#define LATENT_UNROLL_ALL _Pragma("GCC unroll 16")
#else
#define LATENT_UNROLL_ALL
#endif

namespace latent::kernels {
namespace {

/// Where a lane and column of a tap lie in a float32 panel [tap][64 / kColumns][lanes][kColumns]: a register block of kColumns
/// columns reads its part from front to back, as hardware prefetches best.
template <int kColumns>
int64_t panel_offset(int64_t lanes, int64_t lane, int column) {
    return (column / kColumns * lanes + lane) * kColumns + column % kColumns;
}

/// The sums of 6 rows and kVectors vectors of columns must fit the registers. kColumns: of a block of the panel.
template <typename V, int kVectors, int kColumns>
void multiply_block(int64_t segments, int64_t lanes, const void * const * rows, const float * panel, bool accumulate, float * c) {
    V sums[kTileRows][kVectors];
    LATENT_UNROLL_ALL
    for (int r = 0; r < kTileRows; ++r) {
        LATENT_UNROLL_ALL
        for (int v = 0; v < kVectors; ++v) sums[r][v] = accumulate ? V::load(c + r * kTileColumns + v * V::kLanes) : V::zero();
    }
    for (int64_t s = 0; s < segments; ++s, rows += kTileRows) {
        const float * a[kTileRows];
        LATENT_UNROLL_ALL
        for (int r = 0; r < kTileRows; ++r) a[r] = static_cast<const float *>(rows[r]);
        for (int64_t i = 0; i < lanes; ++i, panel += kColumns) {
            V b[kVectors];
            LATENT_UNROLL_ALL
            for (int v = 0; v < kVectors; ++v) b[v] = V::load(panel + v * V::kLanes);
            LATENT_UNROLL_ALL
            for (int r = 0; r < kTileRows; ++r) {
                const V x = V::set1(a[r][i]);
                LATENT_UNROLL_ALL
                for (int v = 0; v < kVectors; ++v) sums[r][v] = V::fma(x, b[v], sums[r][v]);
            }
        }
        panel += lanes * (kTileColumns - kColumns);
    }
    LATENT_UNROLL_ALL
    for (int r = 0; r < kTileRows; ++r) {
        LATENT_UNROLL_ALL
        for (int v = 0; v < kVectors; ++v) sums[r][v].store(c + r * kTileColumns + v * V::kLanes);
    }
}

/// Blocks of kVectors; for narrow panels half of that, then one vector at a time.
template <typename V, int kVectors>
void multiply_f32(int64_t segments, int64_t lanes, const void * const * rows, const void * panel, int columns, bool accumulate,
                  float * c) {
    constexpr int kColumns = kVectors * V::kLanes, kHalf = kVectors / 2;
    int column = 0;
    const auto part = [&] { return static_cast<const float *>(panel) + panel_offset<kColumns>(lanes, 0, column); };
    for (; column + (kVectors - 1) * V::kLanes < columns; column += kColumns)
        multiply_block<V, kVectors, kColumns>(segments, lanes, rows, part(), accumulate, c + column);
    for (; kHalf > 1 && column + (kHalf - 1) * V::kLanes < columns; column += kHalf * V::kLanes)
        multiply_block<V, kHalf, kColumns>(segments, lanes, rows, part(), accumulate, c + column);
    for (; column < columns; column += V::kLanes)
        multiply_block<V, 1, kColumns>(segments, lanes, rows, part(), accumulate, c + column);
}

/// The sums of kRows rows and kColumns columns, kLanes partial sums each, must fit the registers.
template <typename V, int kRows, int kColumns>
void multiply_narrow_block(int64_t segments, int64_t lanes, const void * const * rows, const float * panel, bool accumulate,
                           float * c) {
    V sums[kRows][kColumns];
    LATENT_UNROLL_ALL
    for (int r = 0; r < kRows; ++r) {
        LATENT_UNROLL_ALL
        for (int column = 0; column < kColumns; ++column) sums[r][column] = V::zero();
    }
    for (int64_t s = 0; s < segments; ++s, rows += kTileRows, panel += kNarrowColumns * lanes) {
        const float * a[kRows];
        LATENT_UNROLL_ALL
        for (int r = 0; r < kRows; ++r) a[r] = static_cast<const float *>(rows[r]);
        for (int64_t i = 0; i < lanes; i += V::kLanes) {
            V x[kRows];
            LATENT_UNROLL_ALL
            for (int r = 0; r < kRows; ++r) x[r] = V::load(a[r] + i);
            LATENT_UNROLL_ALL
            for (int column = 0; column < kColumns; ++column) {
                const V w = V::load(panel + column * lanes + i);
                LATENT_UNROLL_ALL
                for (int r = 0; r < kRows; ++r) sums[r][column] = V::fma(x[r], w, sums[r][column]);
            }
        }
    }
    for (int r = 0; r < kRows; ++r) {
        for (int column = 0; column < kColumns; ++column) {
            float & out = c[r * kTileColumns + column];
            out = (accumulate ? out : 0.0f) + V::sum(sums[r][column]);
        }
    }
}

template <typename V, int kRows>
void multiply_narrow_f32(int64_t segments, int64_t lanes, const void * const * rows, const float * panel, int columns,
                         bool accumulate, float * c) {
    static_assert(kTileRows % kRows == 0 && kNarrowStep % V::kLanes == 0);
    for (int r = 0; r < kTileRows; r += kRows) {
        if (columns < kNarrowColumns) {
            multiply_narrow_block<V, kRows, kNarrowColumns - 1>(segments, lanes, rows + r, panel, accumulate,
                                                                c + r * kTileColumns);
        } else {
            multiply_narrow_block<V, kRows, kNarrowColumns>(segments, lanes, rows + r, panel, accumulate, c + r * kTileColumns);
        }
    }
}

template <int kColumns>
void pack_weights_f32(const void * rows, int64_t stride, int64_t channels, int taps, int first_tap, int last_tap,
                      const PanelPart & part, void * panel) {
    const float * in = static_cast<const float *>(rows);
    for (int tap = first_tap; tap < last_tap; ++tap) {
        float * out = static_cast<float *>(panel) + (tap - first_tap) * part.lanes * kTileColumns +
                      panel_offset<kColumns>(part.lanes, part.first_lane, part.column);
        for (int64_t c = 0; c < channels; ++c, out += kColumns) {
            const float * at = in + c * taps + tap;
            for (int r = 0; r < 16; ++r) out[r] = at[r * stride];
        }
    }
}

template <int kColumns>
void pack_tokens_f32(const float * x, int64_t stride, int tokens, int64_t k, void * panel) {
    // With blocks of 16 k, the cache lines of the token rows stay in the first-level cache while the panel is written line by
    // line.
    for (int64_t first = 0; first < k; first += 16) {
        const int64_t last = first + 16 < k ? first + 16 : k;
        for (int column = 0; column < kTileColumns; column += kColumns) {
            float * out = static_cast<float *>(panel) + panel_offset<kColumns>(k, first, column);
            const int count = tokens - column < kColumns ? tokens - column : kColumns;
            for (int64_t i = first; i < last; ++i, out += kColumns) {
                for (int t = 0; t < count; ++t) out[t] = x[(column + t) * stride + i];
                for (int t = count < 0 ? 0 : count; t < kColumns; ++t) out[t] = 0.0f;
            }
        }
    }
}

inline void convert_row_f32(const void * source, Element type, int64_t k, int64_t padded, void * target) {
    float * out = static_cast<float *>(target);
    if (type == Element::f32) {
        std::memcpy(out, source, static_cast<size_t>(k) * sizeof(float));
    } else {
        const uint16_t * half = static_cast<const uint16_t *>(source);
#if defined(__F16C__) || defined(__AVX512F__)
        int64_t i = 0;
        if (type == Element::f16) {
            for (; i + 8 <= k; i += 8) {
                _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(half + i))));
            }
        }
        for (; i < k; ++i) out[i] = type == Element::f16 ? half_to_float(half[i]) : bfloat_to_float(half[i]);
#elif defined(__aarch64__)
        int64_t i = 0;
        if (type == Element::f16) {
            for (; i + 4 <= k; i += 4) vst1q_f32(out + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(half + i))));
        }
        for (; i < k; ++i) out[i] = type == Element::f16 ? half_to_float(half[i]) : bfloat_to_float(half[i]);
#else
        for (int64_t i = 0; i < k; ++i) out[i] = type == Element::f16 ? half_to_float(half[i]) : bfloat_to_float(half[i]);
#endif
    }
    for (int64_t i = k; i < padded; ++i) out[i] = 0.0f;
}

template <typename V, int kColumns>
void softmax_columns(const float * s, int64_t keys, float scale, float offset, float * max, float * sum, float * correction,
                     void * panel) {
    for (int column = 0; column < kTileColumns; column += V::kLanes) {
        const V factor = V::set1(scale), before = V::load(max + column);
        V highest = V::set1(-std::numeric_limits<float>::infinity());
        for (int64_t key = 0; key < keys; ++key) highest = V::max(highest, V::load(s + key * kTileColumns + column));
        const V now = V::max(before, V::mul(V::sub(highest, V::set1(offset)), factor));
        const V shift = V::fma(V::set1(offset), factor, now);
        V total = V::zero();
        float * out = static_cast<float *>(panel) + panel_offset<kColumns>(keys, 0, column);
        for (int64_t key = 0; key < keys; ++key, out += kColumns) {
            const V p = V::exp(V::sub(V::mul(V::load(s + key * kTileColumns + column), factor), shift));
            p.store(out);
            total = V::add(total, p);
        }
        const V shrink = V::exp(V::sub(before, now));
        shrink.store(correction + column);
        now.store(max + column);
        V::fma(V::load(sum + column), shrink, total).store(sum + column);
    }
}

template <typename V>
void scale_columns(float * x, int64_t rows, const float * factor) {
    for (int column = 0; column < kTileColumns; column += V::kLanes) {
        const V f = V::load(factor + column);
        for (int64_t row = 0; row < rows; ++row) {
            float * at = x + row * kTileColumns + column;
            V::mul(V::load(at), f).store(at);
        }
    }
}

/// exp as 2^n * polynomial: n = round(x / ln 2), |r| <= ln 2 / 2, degree 6; relative error below 2e-7. Arguments below -87 are
/// clamped, which gives practically 0. NaN stays NaN, so that a softmax does not hide it.
constexpr float kExpLow = -87.3f, kExpHigh = 88.3f;
constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
constexpr float kExpC[] = {1.0f, 1.0f, 0.5f, 0.16666667f, 0.041666668f, 0.008333452f, 0.0013981999f};

}  // namespace
}  // namespace latent::kernels
