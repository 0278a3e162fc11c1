#include "kernels/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

constexpr int kChains = 24;

float run(long iterations) {
    __m512 sums[kChains];
    for (auto & sum : sums) sum = _mm512_setzero_ps();
    const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.5f));
    const __m512bh b = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.001f), _mm512_set1_ps(0.001f));
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (auto & sum : sums) sum = _mm512_dpbf16_ps(sum, a, b);
    }
    float total = 0;
    for (const auto & sum : sums) total += _mm512_reduce_add_ps(sum);
    return total;
}

}  // namespace

PeakLoop peak_bf16_avx512bf16() { return {"bf16", "avx512_bf16", 2.0 * 32 * kChains, run}; }

}  // namespace latent::kernels
#endif
