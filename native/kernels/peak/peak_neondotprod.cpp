#include "kernels/peak/peak_loops.h"

#if defined(LATENT_NEONDOTPROD)
#include <arm_neon.h>

namespace latent::kernels {
namespace {

constexpr int kChains = 24;  // enough to hide the latency of four units

float run(long iterations) {
    int32x4_t sums[kChains];
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c] = vdupq_n_s32(c);
    const int8x16_t a = vdupq_n_s8(1), b = vdupq_n_s8(1);
    for (long i = 0; i < iterations; ++i) {
        LATENT_UNROLL
        for (int c = 0; c < kChains; ++c) sums[c] = vdotq_s32(sums[c], a, b);
    }
    int32_t total = 0;
    LATENT_UNROLL
    for (int c = 0; c < kChains; ++c) total += vgetq_lane_s32(sums[c], 0);
    return static_cast<float>(total);
}

}  // namespace

PeakLoop peak_int8_neondotprod() {
    return {"int8", "neon_dotprod", 2.0 * 16 * kChains, run};
}

}  // namespace latent::kernels
#endif
