#include "kernels/peak/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

constexpr int kChains = 24;  // enough to hide the latency of two units

float run(long iterations) {
    __m512 sums[kChains];
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_set1_ps(static_cast<float>(c));
    const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (int c = 0; c < kChains; ++c) sums[c] = _mm512_fmadd_ps(sums[c], a, b);
    }
    float lanes[16], total = 0;
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) {
        _mm512_storeu_ps(lanes, sums[c]);
        total += lanes[0];
    }
    return total;
}

}  // namespace

PeakLoop peak_f32_avx512() {
    return {"f32", "avx512", 2.0 * 16 * kChains, run};
}

}  // namespace latent::kernels
#endif
