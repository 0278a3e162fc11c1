#include "kernels/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

constexpr int kChains = 24;

float run(long iterations) {
    __m512i sums[kChains];
    for (auto & sum : sums) sum = _mm512_setzero_si512();
    const __m512i a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(1);
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (auto & sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
    }
    int total = 0;
    for (const auto & sum : sums) total += _mm512_reduce_add_epi32(sum);
    return static_cast<float>(total);
}

}  // namespace

PeakLoop peak_int8_avx512vnni() { return {"int8", "avx512_vnni", 2.0 * 64 * kChains, run}; }

}  // namespace latent::kernels
#endif
