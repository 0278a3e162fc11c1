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
    if (taps > 1) return pack_weights_f32(rows, stride, channels, taps, first_tap, last_tap, part, panel);
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

}  // namespace

const TileSet & tiles_avx512() {
    static const TileSet set = {"avx512",     false,           multiply_f32<Avx512, 4>, pack_tokens_f32,
                                pack_weights, convert_row_f32, softmax_columns<Avx512>, scale_columns<Avx512>};
    return set;
}

const VectorSet & vectors_avx512() {
    static const VectorSet set = {"avx512",          moments_of<Avx512>,   column_moments_of<Avx512>,
                                  affine_of<Avx512>, normalise_of<Avx512>, geglu_of<Avx512>,
                                  finish_of<Avx512>, transpose_blocks};
    return set;
}

}  // namespace latent::kernels
#endif
