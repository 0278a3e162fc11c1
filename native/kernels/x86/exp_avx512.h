#pragma once

#include "kernels/common/tile_f32.h"
#include "kernels/x86/simd_avx512.h"

namespace latent::kernels {
namespace {

inline Avx512 Avx512::exp(Avx512 x) {
    // With this order of operands NaN passes through both.
    const __m512 bounded = _mm512_min_ps(_mm512_set1_ps(kExpHigh), _mm512_max_ps(_mm512_set1_ps(kExpLow), x.v));
    const __m512 n =
        _mm512_roundscale_ps(_mm512_mul_ps(bounded, _mm512_set1_ps(kLog2E)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(kLn2High), bounded);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(kLn2Low), r);
    __m512 p = _mm512_set1_ps(kExpC[6]);
    for (int i = 5; i >= 0; --i) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExpC[i]));
    return {_mm512_scalef_ps(p, n)};
}

}  // namespace
}  // namespace latent::kernels
