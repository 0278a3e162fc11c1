#include "kernels/peak/peak_loops.h"

#if defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>

namespace latent::kernels {
namespace {

constexpr int kChains = 24;  // enough to hide the latency of four units

float run(long iterations) {
    float32x4_t sums[kChains];
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c] = vdupq_n_f32(static_cast<float>(c));
    // Not a constant, or compilers make it anew in every round.
    const float32x4_t a = vdupq_n_f32(1.0f / static_cast<float>(iterations)), b = vdupq_n_f32(0.5f);
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (int c = 0; c < kChains; ++c) sums[c] = vfmaq_f32(sums[c], a, b);
    }
    float total = 0;
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) total += vgetq_lane_f32(sums[c], 0);
    return total;
}

}  // namespace

PeakLoop peak_f32_neon() {
    return {"f32", "neon", 2.0 * 4 * kChains, run};
}

}  // namespace latent::kernels
#endif
