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

}  // namespace

const TileSet & tiles_avx2() {
    static const TileSet set = {"avx2",           false,           multiply_f32<Avx2, 2>, pack_tokens_f32,
                                pack_weights_f32, convert_row_f32, softmax_columns<Avx2>, scale_columns<Avx2>};
    return set;
}

const VectorSet & vectors_avx2() {
    static const VectorSet set = {"avx2",         moments_of<Avx2>, column_moments_of<Avx2>, affine_of<Avx2>, normalise_of<Avx2>,
                                  geglu_of<Avx2>, finish_of<Avx2>};
    return set;
}

}  // namespace latent::kernels
#endif
