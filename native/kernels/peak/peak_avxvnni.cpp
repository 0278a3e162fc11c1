#include "kernels/peak/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

constexpr int kChains = 12;

float run(long iterations) {
    __m256i sums[kChains];
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c] = _mm256_set1_epi32(c);
    const __m256i a = _mm256_set1_epi8(1), b = _mm256_set1_epi8(1);
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (int c = 0; c < kChains; ++c) sums[c] = _mm256_dpbusd_avx_epi32(sums[c], a, b);
    }
    int lanes[8], total = 0;
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) {
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(lanes), sums[c]);
        total += lanes[0];
    }
    return static_cast<float>(total);
}

}  // namespace

PeakLoop peak_int8_avxvnni() {
    return {"int8", "avx_vnni", 2.0 * 32 * kChains, run};
}

}  // namespace latent::kernels
#endif
