#pragma once

#include "kernels/arm/simd_neon.h"
#include "kernels/common/tile_f32.h"

#if defined(__aarch64__) || defined(_M_ARM64)
namespace latent::kernels {
namespace {

inline Neon Neon::exp(Neon x) {
    const float32x4_t bounded = vminq_f32(vmaxq_f32(x.v, vdupq_n_f32(kExpLow)), vdupq_n_f32(kExpHigh));
    const float32x4_t n = vrndnq_f32(vmulq_f32(bounded, vdupq_n_f32(kLog2E)));
    float32x4_t r = vfmsq_f32(bounded, n, vdupq_n_f32(kLn2High));
    r = vfmsq_f32(r, n, vdupq_n_f32(kLn2Low));
    float32x4_t p = vdupq_n_f32(kExpC[6]);
    for (int i = 5; i >= 0; --i) p = vfmaq_f32(vdupq_n_f32(kExpC[i]), p, r);
    const int32x4_t exponent = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    return {vmulq_f32(p, vreinterpretq_f32_s32(exponent))};
}

}  // namespace
}  // namespace latent::kernels
#endif
