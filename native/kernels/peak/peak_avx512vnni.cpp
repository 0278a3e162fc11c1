#include "kernels/peak/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

constexpr int kChains = 24;

float run(long iterations) {
    __m512i sums[kChains];
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_set1_epi32(c);
    const __m512i a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(1);
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (int c = 0; c < kChains; ++c) sums[c] = _mm512_dpbusd_epi32(sums[c], a, b);
    }
    int total = 0;
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) total += _mm512_reduce_add_epi32(sums[c]);
    return static_cast<float>(total);
}

}  // namespace

PeakLoop peak_int8_avx512vnni() {
    return {"int8", "avx512_vnni", 2.0 * 64 * kChains, run};
}

}  // namespace latent::kernels
#endif
