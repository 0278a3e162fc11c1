#include <cmath>

#include "kernels/common/tile.h"

#if defined(__x86_64__) || defined(_M_X64)
#include "kernels/common/vectors_f32.h"
#include "kernels/x86/exp_avx512.h"
#include "kernels/x86/transpose_avx512.h"

namespace latent::kernels {
namespace {

/// With one tap, 16 lanes of 16 rows at a time.
void pack_weights(const void * rows, int64_t stride, int64_t channels, int taps, int first_tap, int last_tap,
                  const PanelPart & part, void * panel) {
    if (taps > 1) return pack_weights_f32<kTileColumns>(rows, stride, channels, taps, first_tap, last_tap, part, panel);
    const float * in = static_cast<const float *>(rows);
    float * out = static_cast<float *>(panel) + part.first_lane * kTileColumns + part.column;
    for (int64_t first = 0; first < channels; first += 16) {
        const int64_t count = channels - first < 16 ? channels - first : 16;
        const __mmask16 mask = static_cast<__mmask16>((1u << count) - 1);
        __m512i block[16];
        for (int r = 0; r < 16; ++r) block[r] = _mm512_maskz_loadu_epi32(mask, in + r * stride + first);
        transpose(block);
        for (int64_t i = 0; i < count; ++i) _mm512_storeu_si512(out + (first + i) * kTileColumns, block[i]);
    }
}

/// 16 by 16 values at a time.
void transpose_blocks(const float * x, int64_t x_stride, int64_t rows, int64_t columns, float * y, int64_t y_stride) {
    for (int64_t c = 0; c < columns; c += 16) {
        const int64_t width = columns - c < 16 ? columns - c : 16;
        const __mmask16 read = static_cast<__mmask16>((1u << width) - 1);
        for (int64_t r = 0; r < rows; r += 16) {
            const int64_t height = rows - r < 16 ? rows - r : 16;
            const __mmask16 write = static_cast<__mmask16>((1u << height) - 1);
            __m512i block[16];
            for (int64_t i = 0; i < 16; ++i)
                block[i] = i < height ? _mm512_maskz_loadu_epi32(read, x + (r + i) * x_stride + c) : _mm512_setzero_si512();
            transpose(block);
            for (int64_t i = 0; i < width; ++i) _mm512_mask_storeu_epi32(y + (c + i) * y_stride + r, write, block[i]);
        }
    }
}

/// gelu(x) = max(x, 0) - g(|x|), where g(u) = u * erfc(u / sqrt(2)) / 2 vanishes for large u: its Taylor series around 16 values,
/// up to the fifth power. The largest error is 3e-7.
struct GeluTable {
    static constexpr int kPowers = 6;
    static constexpr float kStep = 0.35f, kMost = 15.4f * kStep;  // around 0, kStep ... 15 * kStep
    alignas(64) float power[kPowers][16];

    GeluTable() {
        for (int i = 0; i < 16; ++i) {
            const double u = static_cast<double>(kStep) * i, density = std::exp(-0.5 * u * u) * 0.3989422804014327;
            // Derivatives of erfc(u / sqrt(2)) / 2, by Hermite polynomials; those of g follow from the product's rule.
            double derivative[kPowers] = {0.5 * std::erfc(u * 0.7071067811865476), -density}, hermite = 1.0, before = 0.0;
            for (int n = 2; n < kPowers; ++n) {
                const double next = u * hermite - (n - 2) * before;
                before = hermite, hermite = next;
                derivative[n] = (n % 2 ? -1.0 : 1.0) * hermite * density;
            }
            double factorial = 1.0;
            for (int n = 0; n < kPowers; ++n) {
                factorial *= n > 1 ? n : 1;
                power[n][i] = static_cast<float>((u * derivative[n] + (n ? n * derivative[n - 1] : 0.0)) / factorial);
            }
        }
    }
};

void geglu(const float * value, const float * gate, float * y, int64_t count) {
    static const GeluTable table;
    __m512 power[GeluTable::kPowers];
    for (int n = 0; n < GeluTable::kPowers; ++n) power[n] = _mm512_load_ps(table.power[n]);
    for (int64_t i = 0; i < count; i += 16) {
        const __mmask16 mask = count - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - i)) - 1);
        const __m512 x = _mm512_maskz_loadu_ps(mask, gate + i);
        const __m512 u = _mm512_min_ps(_mm512_set1_ps(GeluTable::kMost), _mm512_abs_ps(x));  // in this order NaN stays NaN
        const __m512i nearest = _mm512_cvtps_epi32(_mm512_mul_ps(u, _mm512_set1_ps(1.0f / GeluTable::kStep)));
        const __m512 t = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(nearest), _mm512_set1_ps(GeluTable::kStep), u);
        __m512 g = _mm512_permutexvar_ps(nearest, power[GeluTable::kPowers - 1]);
        for (int n = GeluTable::kPowers - 2; n >= 0; --n) g = _mm512_fmadd_ps(g, t, _mm512_permutexvar_ps(nearest, power[n]));
        // x * 0 is NaN if x is infinite, as the definition is.
        const __m512 gelu = _mm512_sub_ps(_mm512_max_ps(x, _mm512_mul_ps(x, _mm512_setzero_ps())), g);
        _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, value + i), gelu));
    }
}

bool store_halves(float * x, const uint16_t * add, uint16_t * halves, int64_t count) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff), infinity = _mm512_set1_epi32(0x7f800000);
    // The smallest that rounds to infinity: halfway between 65504 and 65536.
    const __m512i least = _mm512_castps_si512(_mm512_set1_ps(65520.0f));
    __mmask16 large = 0;
    for (int64_t i = 0; i < count; i += 16) {
        const int64_t left = count - i;
        const __mmask16 mask = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
        __m512 value = _mm512_maskz_loadu_ps(mask, x + i);
        if (add) {
            value = _mm512_add_ps(value, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, add + i)));
            _mm512_mask_storeu_ps(x + i, mask, value);
        }
        _mm256_mask_storeu_epi16(halves + i, mask, _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
        const __m512i bits = _mm512_and_si512(_mm512_castps_si512(value), magnitude);
        large = static_cast<__mmask16>(large | (_mm512_cmpge_epu32_mask(bits, least) & _mm512_cmplt_epu32_mask(bits, infinity)));
    }
    return large == 0;
}

}  // namespace

const TileSet & tiles_avx512() {
    static const TileSet set = [] {
        TileSet s = {"avx512",
                     false,
                     multiply_f32<Avx512, 4>,
                     pack_tokens_f32<kTileColumns>,
                     pack_weights,
                     convert_row_f32,
                     softmax_columns<Avx512, kTileColumns>,
                     scale_columns<Avx512>};
        s.multiply_narrow = multiply_narrow_f32<Avx512, 6>;
        return s;
    }();
    return set;
}

const VectorSet & vectors_avx512() {
    static const VectorSet set = {
        "avx512", moments_of<Avx512>, column_moments_of<Avx512>, affine_of<Avx512>, normalise_of<Avx512>,
        geglu,    finish_of<Avx512>,  transpose_blocks,          widen_of<Avx512>,  store_halves};
    return set;
}

}  // namespace latent::kernels
#endif
