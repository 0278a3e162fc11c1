#include <cmath>

#include "kernels/common/tile.h"

#if defined(__x86_64__) || defined(_M_X64)
#include "kernels/x86/blocks_avx512bf16.h"
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

/// The product of kRows rows, of which segment s has rows[kRows * s + r].
template <int kRows, int kColumnVectors>
void multiply_block(int64_t segments, int64_t lanes, const void * const * rows, const uint8_t * b, bool accumulate, float * c) {
    __m512 sums[kRows][kColumnVectors];
    LATENT_UNROLL_ALL
    for (int r = 0; r < kRows; ++r) {
        LATENT_UNROLL_ALL
        for (int v = 0; v < kColumnVectors; ++v)
            sums[r][v] = accumulate ? _mm512_loadu_ps(c + r * kTileColumns + v * 16) : _mm512_setzero_ps();
    }
    for (int64_t s = 0; s < segments; ++s, rows += kRows) {
        const uint8_t * a[kRows];
        LATENT_UNROLL_ALL
        for (int r = 0; r < kRows; ++r) a[r] = static_cast<const uint8_t *>(rows[r]);
        for (int64_t i = 0; i < lanes; ++i, b += kTileColumns * 4) {
            __m512bh columns[kColumnVectors];
            LATENT_UNROLL_ALL
            for (int v = 0; v < kColumnVectors; ++v) columns[v] = as_bf16(_mm512_loadu_si512(b + v * 64));
            LATENT_UNROLL_ALL
            for (int r = 0; r < kRows; ++r) {
                int32_t pair;
                std::memcpy(&pair, a[r] + i * 4, sizeof(pair));
                const __m512bh row = as_bf16(_mm512_set1_epi32(pair));
                LATENT_UNROLL_ALL
                for (int v = 0; v < kColumnVectors; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], row, columns[v]);
            }
        }
    }
    LATENT_UNROLL_ALL
    for (int r = 0; r < kRows; ++r) {
        LATENT_UNROLL_ALL
        for (int v = 0; v < kColumnVectors; ++v) _mm512_storeu_ps(c + r * kTileColumns + v * 16, sums[r][v]);
    }
}

/// The same for 16 columns: with one sum per row, each product would wait for the one before, so even and odd lanes have their
/// own.
void multiply_narrow(int64_t segments, int64_t lanes, const void * const * rows, const uint8_t * b, bool accumulate, float * c) {
    __m512 even[kTileRows], odd[kTileRows];
    LATENT_UNROLL_ALL
    for (int r = 0; r < kTileRows; ++r) {
        even[r] = accumulate ? _mm512_loadu_ps(c + r * kTileColumns) : _mm512_setzero_ps();
        odd[r] = _mm512_setzero_ps();
    }
    const auto add = [](__m512 & sum, const void * row, int64_t lane, __m512bh columns) {
        int32_t pair;
        std::memcpy(&pair, static_cast<const uint8_t *>(row) + lane * 4, sizeof(pair));
        sum = _mm512_dpbf16_ps(sum, as_bf16(_mm512_set1_epi32(pair)), columns);
    };
    for (int64_t s = 0; s < segments; ++s, rows += kTileRows) {
        int64_t i = 0;
        for (; i + 2 <= lanes; i += 2, b += 2 * kTileColumns * 4) {
            const __m512bh first = as_bf16(_mm512_loadu_si512(b)), second = as_bf16(_mm512_loadu_si512(b + kTileColumns * 4));
            LATENT_UNROLL_ALL
            for (int r = 0; r < kTileRows; ++r) {
                add(even[r], rows[r], i, first);
                add(odd[r], rows[r], i + 1, second);
            }
        }
        if (i == lanes) continue;
        const __m512bh last = as_bf16(_mm512_loadu_si512(b));
        LATENT_UNROLL_ALL
        for (int r = 0; r < kTileRows; ++r) add(even[r], rows[r], i, last);
        b += kTileColumns * 4;
    }
    LATENT_UNROLL_ALL
    for (int r = 0; r < kTileRows; ++r) _mm512_storeu_ps(c + r * kTileColumns, _mm512_add_ps(even[r], odd[r]));
}

void multiply(int64_t segments, int64_t lanes, const void * const * rows, const void * panel, int columns, bool accumulate,
              float * c) {
    const uint8_t * b = static_cast<const uint8_t *>(panel);
    if (columns > 32) {
        multiply_block<kTileRows, kVectors>(segments, lanes, rows, b, accumulate, c);
    } else if (columns > 16) {
        multiply_block<kTileRows, 2>(segments, lanes, rows, b, accumulate, c);
    } else {
        multiply_narrow(segments, lanes, rows, b, accumulate, c);
    }
}

/// The product of kRows rows that lie `stride` bytes apart.
template <int kRows>
void multiply_rows(int64_t stride, int64_t lanes, const uint8_t * first, const uint8_t * panel, bool accumulate, float * c) {
    const void * rows[kRows];
    for (int r = 0; r < kRows; ++r) rows[r] = first + r * stride;
    multiply_block<kRows, kVectors>(1, lanes, rows, panel, accumulate, c);
}

/// In attention: heads of 40 have 40 rows, not a whole number of tiles.
void multiply_even(int64_t count, int64_t stride, int64_t lanes, const uint8_t * rows, const void * panel, bool accumulate,
                   float * c) {
    const uint8_t * b = static_cast<const uint8_t *>(panel);
    for (; count >= kTileRows; count -= kTileRows, rows += kTileRows * stride, c += kTileRows * kTileColumns)
        multiply_rows<kTileRows>(stride, lanes, rows, b, accumulate, c);
    switch (count) {
        case 5: return multiply_rows<5>(stride, lanes, rows, b, accumulate, c);
        case 4: return multiply_rows<4>(stride, lanes, rows, b, accumulate, c);
        case 3: return multiply_rows<3>(stride, lanes, rows, b, accumulate, c);
        case 2: return multiply_rows<2>(stride, lanes, rows, b, accumulate, c);
        case 1: return multiply_rows<1>(stride, lanes, rows, b, accumulate, c);
        default: return;
    }
}

/// The seven bits of the mantissa of 2^(i / 128) as bfloat16.
struct Exp2Table {
    alignas(64) uint8_t bits[128];
    Exp2Table() {
        for (int i = 0; i < 128; ++i) bits[i] = static_cast<uint8_t>(std::lround((std::exp2(i / 128.0) - 1.0) * 128.0));
    }
};

/// The exponentials are computed in 16-bit integers: with y = 128 * (127 + log2(exp(x))), rounded, the bits of exp(x) as bfloat16
/// are those of y, but for the lower seven, for which a table has the mantissa. The largest relative error is 0.27 % from the
/// rounding of y and 0.2 % from that of the mantissa. The sum adds the rounded values, so equal weights have no error.
void softmax(const float * s, int64_t keys, float scale, float offset, float * max, float * sum, float * correction,
             void * panel) {
    static const Exp2Table table;
    const __m512i low = _mm512_load_si512(table.bits), high = _mm512_load_si512(table.bits + 64);
    const __m512i exponent = _mm512_set1_epi16(static_cast<int16_t>(0xff80));
    // In each 128 bits, four values of an even key and four of the odd one: pairs them.
    const __m512i interleave = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    const __m512bh ones = as_bf16(_mm512_set1_epi32(0x3f803f80));
    constexpr float kUnits = 128.0f * kLog2E;
    const __m512 factor = _mm512_set1_ps(scale * kUnits);
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
        const __m512 top = _mm512_sub_ps(_mm512_max_ps(even, odd), _mm512_set1_ps(offset));
        const __m512 now = _mm512_max_ps(before, _mm512_mul_ps(top, _mm512_set1_ps(scale)));
        // Finite, so that scores of -infinity are not subtracted from themselves.
        const __m512 highest = _mm512_max_ps(_mm512_set1_ps(-1e38f), _mm512_mul_ps(now, _mm512_set1_ps(kUnits)));
        const __m512 shift =
            _mm512_fnmadd_ps(_mm512_set1_ps(offset), factor, _mm512_sub_ps(_mm512_set1_ps(128.0f * 127.0f), highest));
        __m512 total = _mm512_setzero_ps(), other = total;
        __mmask16 unordered = 0;
        uint8_t * out = static_cast<uint8_t *>(panel) + column * 4;
        const auto pair = [&](__m512 first, __m512 second, __m512 & into) {
            const __m512i y = _mm512_packus_epi32(_mm512_cvtps_epi32(first), _mm512_cvtps_epi32(second));
            const __m512i pairs = _mm512_shuffle_epi8(y, interleave);
            const __m512i mantissa = _mm512_maskz_permutex2var_epi8(0x5555555555555555, low, pairs, high);
            const __m512i bits = _mm512_ternarylogic_epi32(pairs, exponent, mantissa, 0xea);  // (pairs & exponent) | mantissa
            into = _mm512_dpbf16_ps(into, as_bf16(bits), ones);
            _mm512_storeu_si512(out, bits);
            unordered = static_cast<__mmask16>(unordered | _mm512_cmp_ps_mask(first, second, _CMP_UNORD_Q));
            out += kTileColumns * 4;
        };
        const auto units = [&](int64_t i) { return _mm512_fmadd_ps(_mm512_loadu_ps(at + i * kTileColumns), factor, shift); };
        for (key = 0; key + 4 <= keys; key += 4) {
            pair(units(key), units(key + 1), total);
            pair(units(key + 2), units(key + 3), other);
        }
        for (; key < keys; key += 2)  // a last key without a partner gets one of no weight
            pair(units(key), key + 1 < keys ? units(key + 1) : _mm512_setzero_ps(), total);
        total =
            _mm512_mask_mov_ps(_mm512_add_ps(total, other), unordered, _mm512_set1_ps(std::numeric_limits<float>::quiet_NaN()));
        const __m512 shrink = Avx512::exp({_mm512_sub_ps(before, now)}).v;
        _mm512_storeu_ps(correction + column, shrink);
        _mm512_storeu_ps(max + column, now);
        _mm512_storeu_ps(sum + column, _mm512_fmadd_ps(_mm512_loadu_ps(sum + column), shrink, total));
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
    static const TileSet set = [] {
        TileSet s = {"avx512_bf16", true, multiply, pack_tokens, pack_weights, convert_row, softmax, scale_columns<Avx512>};
        s.multiply_even = multiply_even;
        s.convert_blocks = convert_blocks_avx512bf16;
        return s;
    }();
    return set;
}

}  // namespace latent::kernels
#endif
