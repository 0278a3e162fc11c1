#include "kernels/peak/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

constexpr int kChains = 24;

float run(long iterations) {
    __m512 sums[kChains];
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_set1_ps(static_cast<float>(c));
    const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.5f));
    const __m512bh b = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.001f), _mm512_set1_ps(0.001f));
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (int c = 0; c < kChains; ++c) sums[c] = _mm512_dpbf16_ps(sums[c], a, b);
    }
    float total = 0;
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) total += _mm512_reduce_add_ps(sums[c]);
    return total;
}

}  // namespace

PeakLoop peak_bf16_avx512bf16() {
    return {"bf16", "avx512_bf16", 2.0 * 32 * kChains, run};
}

}  // namespace latent::kernels
#endif
