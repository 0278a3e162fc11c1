#include "kernels/peak/peak_loops.h"

#if defined(LATENT_NEONI8MM)
#include <arm_neon.h>

namespace latent::kernels {
namespace {

constexpr int kChains = 24;  // enough to hide the latency of four units

float run(long iterations) {
    int32x4_t sums[kChains];
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c] = vdupq_n_s32(c);
    const uint8x16_t a = vdupq_n_u8(1);
    const int8x16_t b = vdupq_n_s8(1);
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (int c = 0; c < kChains; ++c) sums[c] = vusmmlaq_s32(sums[c], a, b);
    }
    int32_t total = 0;
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) total += vgetq_lane_s32(sums[c], 0);
    return static_cast<float>(total);
}

}  // namespace

PeakLoop peak_int8_neoni8mm() {
    return {"int8", "neon_i8mm", 2.0 * 32 * kChains, run};
}

}  // namespace latent::kernels
#endif
