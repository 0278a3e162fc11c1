#include "kernels/common/tile.h"

#if defined(__x86_64__) || defined(_M_X64)
#include "kernels/common/tile_f32.h"
#include "kernels/common/vectors_f32.h"
#include "kernels/x86/simd_avx2.h"

namespace latent::kernels {
namespace {

inline Avx2 Avx2::exp(Avx2 x) {
    // With this order of operands NaN passes through both.
    const __m256 bounded = _mm256_min_ps(_mm256_set1_ps(kExpHigh), _mm256_max_ps(_mm256_set1_ps(kExpLow), x.v));
    const __m256 n =
        _mm256_round_ps(_mm256_mul_ps(bounded, _mm256_set1_ps(kLog2E)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(kLn2High), bounded);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(kLn2Low), r);
    __m256 p = _mm256_set1_ps(kExpC[6]);
    for (int i = 5; i >= 0; --i) p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpC[i]));
    const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return {_mm256_mul_ps(p, _mm256_castsi256_ps(exponent))};
}

inline void transpose(__m256 r[8]) {
    __m256 t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; ++i) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    for (int i = 0; i < 8; ++i) r[i] = t[i];
}

constexpr int kColumns = 16;  // of a register block

/// With one tap, 8 lanes of 8 rows at a time.
void pack_weights(const void * rows, int64_t stride, int64_t channels, int taps, int first_tap, int last_tap,
                  const PanelPart & part, void * panel) {
    const float * in = static_cast<const float *>(rows);
    const int64_t whole = taps == 1 ? channels / 8 * 8 : 0;
    for (int64_t first = 0; first < whole; first += 8) {
        float * out = static_cast<float *>(panel) + panel_offset<kColumns>(part.lanes, part.first_lane + first, part.column);
        for (int r0 = 0; r0 < 16; r0 += 8) {
            __m256 block[8];
            for (int r = 0; r < 8; ++r) block[r] = _mm256_loadu_ps(in + (r0 + r) * stride + first);
            transpose(block);
            for (int i = 0; i < 8; ++i) _mm256_storeu_ps(out + i * kColumns + r0, block[i]);
        }
    }
    PanelPart rest = part;
    rest.first_lane += whole;
    pack_weights_f32<kColumns>(in + whole * taps, stride, channels - whole, taps, first_tap, last_tap, rest, panel);
}

/// Of eight values: stores the halves and, with `add`, the sums; lanes of the result are set where a finite one is too large.
inline __m256i store_eight(float * x, const uint16_t * add, uint16_t * halves) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff), infinity = _mm256_set1_epi32(0x7f800000);
    // Above this a value rounds to infinity: halfway between 65504 and 65536.
    const __m256i most = _mm256_sub_epi32(_mm256_castps_si256(_mm256_set1_ps(65520.0f)), _mm256_set1_epi32(1));
    __m256 value = _mm256_loadu_ps(x);
    if (add) {
        value = _mm256_add_ps(value, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(add))));
        _mm256_storeu_ps(x, value);
    }
    _mm_storeu_si128(reinterpret_cast<__m128i *>(halves), _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
    const __m256i bits = _mm256_and_si256(_mm256_castps_si256(value), magnitude);
    return _mm256_and_si256(_mm256_cmpgt_epi32(bits, most), _mm256_cmpgt_epi32(infinity, bits));
}

bool store_halves(float * x, const uint16_t * add, uint16_t * halves, int64_t count) {
    __m256i large = _mm256_setzero_si256();
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) large = _mm256_or_si256(large, store_eight(x + i, add ? add + i : nullptr, halves + i));
    if (i < count) {
        const size_t left = static_cast<size_t>(count - i);
        float values[8] = {};
        uint16_t more[8] = {}, half[8];
        std::memcpy(values, x + i, left * sizeof(float));
        if (add) std::memcpy(more, add + i, left * sizeof(uint16_t));
        large = _mm256_or_si256(large, store_eight(values, add ? more : nullptr, half));
        std::memcpy(x + i, values, left * sizeof(float));
        std::memcpy(halves + i, half, left * sizeof(uint16_t));
    }
    return _mm256_testz_si256(large, large) != 0;
}

}  // namespace

const TileSet & tiles_avx2() {
    static const TileSet set = [] {
        TileSet s = {"avx2",       false,           multiply_f32<Avx2, 2>,           pack_tokens_f32<kColumns>,
                     pack_weights, convert_row_f32, softmax_columns<Avx2, kColumns>, scale_columns<Avx2>};
        s.multiply_narrow = multiply_narrow_f32<Avx2, 3>;
        return s;
    }();
    return set;
}

const VectorSet & vectors_avx2() {
    static const VectorSet set = {"avx2",         moments_of<Avx2>, column_moments_of<Avx2>, affine_of<Avx2>, normalise_of<Avx2>,
                                  geglu_of<Avx2>, finish_of<Avx2>,  transpose_plain,         widen_of<Avx2>,  store_halves};
    return set;
}

}  // namespace latent::kernels
#endif
