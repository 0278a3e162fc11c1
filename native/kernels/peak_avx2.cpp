#include "kernels/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

constexpr int kChains = 12;  // enough to hide the latency of two units

float run(long iterations) {
    __m256 sums[kChains];
    for (auto & sum : sums) sum = _mm256_set1_ps(1.0f);
    const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (auto & sum : sums) sum = _mm256_fmadd_ps(sum, a, b);
    }
    float lanes[8], total = 0;
    for (const auto & sum : sums) {
        _mm256_storeu_ps(lanes, sum);
        total += lanes[0];
    }
    return total;
}

}  // namespace

PeakLoop peak_f32_avx2() { return {"f32", "avx2", 2.0 * 8 * kChains, run}; }

}  // namespace latent::kernels
#endif
