#include "kernels/common/tile.h"

#if defined(__x86_64__) || defined(_M_X64)
#include "kernels/x86/exp_avx512.h"
#include "kernels/x86/transpose_avx512.h"

namespace latent::kernels {
namespace {

constexpr int kVectors = kTileColumns / 16;

inline __m512bh as_bf16(__m512i x) {
    __m512bh out;
    std::memcpy(&out, &x, sizeof(out));
    return out;
}

inline __m512i as_int(__m512bh x) {
    __m512i out;
    std::memcpy(&out, &x, sizeof(out));
    return out;
}

inline __m256i to_bf16(__m512 x) {
    const __m256bh half = _mm512_cvtneps_pbh(x);
    __m256i out;
    std::memcpy(&out, &half, sizeof(out));
    return out;
}

template <int kColumnVectors>
void multiply_block(int64_t segments, int64_t lanes, const void * const * rows, const uint8_t * b, bool accumulate, float * c) {
    __m512 sums[kTileRows][kColumnVectors];
    LATENT_UNROLL_ALL
    for (int r = 0; r < kTileRows; ++r) {
        LATENT_UNROLL_ALL
        for (int v = 0; v < kColumnVectors; ++v)
            sums[r][v] = accumulate ? _mm512_loadu_ps(c + r * kTileColumns + v * 16) : _mm512_setzero_ps();
    }
    for (int64_t s = 0; s < segments; ++s, rows += kTileRows) {
        const uint8_t * a[kTileRows];
        LATENT_UNROLL_ALL
        for (int r = 0; r < kTileRows; ++r) a[r] = static_cast<const uint8_t *>(rows[r]);
        for (int64_t i = 0; i < lanes; ++i, b += kTileColumns * 4) {
            __m512bh columns[kColumnVectors];
            LATENT_UNROLL_ALL
            for (int v = 0; v < kColumnVectors; ++v) columns[v] = as_bf16(_mm512_loadu_si512(b + v * 64));
            LATENT_UNROLL_ALL
            for (int r = 0; r < kTileRows; ++r) {
                int32_t pair;
                std::memcpy(&pair, a[r] + i * 4, sizeof(pair));
                const __m512bh row = as_bf16(_mm512_set1_epi32(pair));
                LATENT_UNROLL_ALL
                for (int v = 0; v < kColumnVectors; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], row, columns[v]);
            }
        }
    }
    LATENT_UNROLL_ALL
    for (int r = 0; r < kTileRows; ++r) {
        LATENT_UNROLL_ALL
        for (int v = 0; v < kColumnVectors; ++v) _mm512_storeu_ps(c + r * kTileColumns + v * 16, sums[r][v]);
    }
}

void multiply(int64_t segments, int64_t lanes, const void * const * rows, const void * panel, int columns, bool accumulate,
              float * c) {
    const uint8_t * b = static_cast<const uint8_t *>(panel);
    if (columns > 32) {
        multiply_block<kVectors>(segments, lanes, rows, b, accumulate, c);
    } else if (columns > 16) {
        multiply_block<2>(segments, lanes, rows, b, accumulate, c);
    } else {
        multiply_block<1>(segments, lanes, rows, b, accumulate, c);
    }
}

/// 2^x for x <= 0, degree 3 over [-1/2, 1/2]: relative error below 8e-5, a twentieth of the rounding error of bfloat16.
inline __m512 exp2_coarse(__m512 x) {
    const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r = _mm512_sub_ps(x, n);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.0551716691f), r, _mm512_set1_ps(0.242611122f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.693260985f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.999928074f));
    return _mm512_scalef_ps(p, n);
}

void softmax(const float * s, int64_t keys, float scale, float * max, float * sum, float * correction, void * panel) {
    uint16_t order[32];
    for (int i = 0; i < 32; ++i) order[i] = static_cast<uint16_t>(i / 2 + i % 2 * 16);
    const __m512i interleave = _mm512_loadu_si512(order);
    for (int column = 0; column < kTileColumns; column += 16) {
        const float * at = s + column;
        __m512 even = _mm512_set1_ps(-std::numeric_limits<float>::infinity()), odd = even;
        int64_t key = 0;
        for (; key + 2 <= keys; key += 2) {
            even = _mm512_max_ps(even, _mm512_loadu_ps(at + key * kTileColumns));
            odd = _mm512_max_ps(odd, _mm512_loadu_ps(at + (key + 1) * kTileColumns));
        }
        if (key < keys) even = _mm512_max_ps(even, _mm512_loadu_ps(at + key * kTileColumns));
        const __m512 before = _mm512_loadu_ps(max + column);
        const __m512 now = _mm512_max_ps(before, _mm512_mul_ps(_mm512_max_ps(even, odd), _mm512_set1_ps(scale)));
        const __m512 factor = _mm512_set1_ps(scale * kLog2E), highest = _mm512_mul_ps(now, _mm512_set1_ps(kLog2E));
        __m512 total = _mm512_setzero_ps(), other = total;
        uint8_t * out = static_cast<uint8_t *>(panel) + column * 4;
        for (key = 0; key < keys; key += 2, out += kTileColumns * 4) {
            const __m512 first = exp2_coarse(_mm512_fmsub_ps(_mm512_loadu_ps(at + key * kTileColumns), factor, highest));
            __m512 second = _mm512_setzero_ps();
            if (key + 1 < keys)
                second = exp2_coarse(_mm512_fmsub_ps(_mm512_loadu_ps(at + (key + 1) * kTileColumns), factor, highest));
            total = _mm512_add_ps(total, first);
            other = _mm512_add_ps(other, second);
            _mm512_storeu_si512(out, _mm512_permutexvar_epi16(interleave, as_int(_mm512_cvtne2ps_pbh(second, first))));
        }
        const __m512 shrink = Avx512::exp({_mm512_sub_ps(before, now)}).v;
        _mm512_storeu_ps(correction + column, shrink);
        _mm512_storeu_ps(max + column, now);
        _mm512_storeu_ps(sum + column, _mm512_fmadd_ps(_mm512_loadu_ps(sum + column), shrink, _mm512_add_ps(total, other)));
    }
}

/// 32 consecutive k of one token as 16 pairs; k beyond `left` is zero.
inline __m512i token_pairs(const float * x, int64_t left) {
    if (left >= 32) return as_int(_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x)));
    const __mmask16 low = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
    const __mmask16 high = left <= 16 ? 0 : static_cast<__mmask16>((1u << (left - 16)) - 1);
    return as_int(_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, x + 16), _mm512_maskz_loadu_ps(low, x)));
}

void pack_tokens(const float * x, int64_t stride, int tokens, int64_t k, void * panel) {
    uint8_t * out = static_cast<uint8_t *>(panel);
    const int64_t pairs = (k + 1) / 2;
    for (int64_t first = 0; first < pairs; first += 16) {
        for (int t0 = 0; t0 < kTileColumns; t0 += 16) {
            __m512i block[16];
            for (int t = 0; t < 16; ++t) {
                block[t] =
                    t0 + t < tokens ? token_pairs(x + (t0 + t) * stride + first * 2, k - first * 2) : _mm512_setzero_si512();
            }
            transpose(block);
            const int64_t count = pairs - first < 16 ? pairs - first : 16;
            for (int64_t i = 0; i < count; ++i) _mm512_storeu_si512(out + ((first + i) * kTileColumns + t0) * 4, block[i]);
        }
    }
}

/// Taps of two neighbouring channels lie 2 * taps elements in a row: lane t takes elements t and taps + t.
void pack_weights(const void * rows, int64_t stride, int64_t channels, int taps, int first_tap, int last_tap,
                  const PanelPart & part, void * panel) {
    const uint16_t * in = static_cast<const uint16_t *>(rows);
    uint8_t * out = static_cast<uint8_t *>(panel) + (part.first_lane * kTileColumns + part.column) * 4;
    const int64_t lanes = (channels + 1) / 2, tap_bytes = part.lanes * kTileColumns * 4;
    if (taps > 16) {
        for (int tap = first_tap; tap < last_tap; ++tap) {
            uint8_t * to = out + (tap - first_tap) * tap_bytes;
            for (int64_t lane = 0; lane < lanes; ++lane, to += kTileColumns * 4) {
                for (int r = 0; r < 16; ++r) {
                    const uint16_t * at = in + r * stride + 2 * lane * taps + tap;
                    const uint16_t pair[2] = {at[0], 2 * lane + 1 < channels ? at[taps] : static_cast<uint16_t>(0)};
                    std::memcpy(to + r * 4, pair, sizeof(pair));
                }
            }
        }
        return;
    }
    // With one tap, a register holds 16 lanes of one row; with more, the taps of one lane.
    const bool single = taps == 1;
    const int64_t step = single ? 16 : 1;
    uint16_t order[32];
    for (int i = 0; i < 32; ++i) order[i] = static_cast<uint16_t>(single ? i : (i / 2 + i % 2 * taps) % 32);
    const __m512i gather = _mm512_loadu_si512(order);
    for (int64_t lane = 0; lane < lanes; lane += step) {
        const int64_t left = single ? channels - 2 * lane : (channels - 2 * lane < 2 ? 1 : 2) * taps;
        const __mmask32 mask = left >= 32 ? 0xffffffffu : (1u << left) - 1;
        __m512i block[16];
        for (int r = 0; r < 16; ++r)
            block[r] = _mm512_permutexvar_epi16(gather, _mm512_maskz_loadu_epi16(mask, in + r * stride + 2 * lane * taps));
        transpose(block);
        if (single) {
            for (int64_t i = 0; i < 16 && lane + i < lanes; ++i)
                _mm512_storeu_si512(out + (lane + i) * kTileColumns * 4, block[i]);
        } else {
            for (int tap = first_tap; tap < last_tap; ++tap)
                _mm512_storeu_si512(out + (tap - first_tap) * tap_bytes + lane * kTileColumns * 4, block[tap]);
        }
    }
}

void convert_row(const void * source, Element type, int64_t k, int64_t padded, void * target) {
    uint16_t * out = static_cast<uint16_t *>(target);
    int64_t i = 0;
    if (type == Element::bf16) {
        std::memcpy(out, source, static_cast<size_t>(k) * 2);
        i = k;
    } else if (type == Element::f16) {
        const uint16_t * half = static_cast<const uint16_t *>(source);
        for (; i + 16 <= k; i += 16) {
            const __m512 x = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(half + i)));
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + i), to_bf16(x));
        }
        for (; i < k; ++i) out[i] = float_to_bfloat(half_to_float(half[i]));
    } else {
        const float * full = static_cast<const float *>(source);
        for (; i + 16 <= k; i += 16)
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + i), to_bf16(_mm512_loadu_ps(full + i)));
        for (; i < k; ++i) out[i] = float_to_bfloat(full[i]);
    }
    for (; i < padded; ++i) out[i] = 0;
}

}  // namespace

const TileSet & tiles_avx512bf16() noexcept {
    static const TileSet set = {"avx512_bf16", true,        multiply, pack_tokens,
                                pack_weights,  convert_row, softmax,  scale_columns<Avx512>};
    return set;
}

}  // namespace latent::kernels
#endif
