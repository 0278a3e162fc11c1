#include "kernels/peak/peak_loops.h"

#if defined(LATENT_NEONBF16)
#include <arm_neon.h>

namespace latent::kernels {
namespace {

constexpr int kChains = 24;  // enough to hide the latency of four units

float run(long iterations) {
    float32x4_t sums[kChains];
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c] = vdupq_n_f32(static_cast<float>(c));
    const bfloat16x8_t a = vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(vdupq_n_f32(0.5f)), vdupq_n_f32(0.5f));
    const bfloat16x8_t b = vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(vdupq_n_f32(0.001f)), vdupq_n_f32(0.001f));
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (int c = 0; c < kChains; ++c) sums[c] = vbfmmlaq_f32(sums[c], a, b);
    }
    float total = 0;
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) total += vgetq_lane_f32(sums[c], 0);
    return total;
}

}  // namespace

PeakLoop peak_bf16_neonbf16() {
    return {"bf16", "neon_bf16", 2.0 * 16 * kChains, run};
}

}  // namespace latent::kernels
#endif
