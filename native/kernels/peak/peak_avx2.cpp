#include "kernels/peak/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

constexpr int kChains = 12;  // enough to hide the latency of two units

float run(long iterations) {
    __m256 sums[kChains];
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c] = _mm256_set1_ps(static_cast<float>(c));
    const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (int c = 0; c < kChains; ++c) sums[c] = _mm256_fmadd_ps(sums[c], a, b);
    }
    float lanes[8], total = 0;
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) {
        _mm256_storeu_ps(lanes, sums[c]);
        total += lanes[0];
    }
    return total;
}

}  // namespace

PeakLoop peak_f32_avx2() {
    return {"f32", "avx2", 2.0 * 8 * kChains, run};
}

}  // namespace latent::kernels
#endif
