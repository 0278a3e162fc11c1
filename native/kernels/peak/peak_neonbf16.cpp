#include "kernels/peak/peak_loops.h"

#if defined(LATENT_NEONBF16)
#include <arm_neon.h>

namespace latent::kernels {
namespace {

struct PeakNeonbf16 {
    using Vector = float32x4_t;
    static constexpr int chains = 24;  // enough to hide the latency of four units
    static constexpr double operations = 2.0 * 16;
    bfloat16x8_t a = vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(vdupq_n_f32(0.5f)), vdupq_n_f32(0.5f));
    bfloat16x8_t b = vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(vdupq_n_f32(0.001f)), vdupq_n_f32(0.001f));
    explicit PeakNeonbf16(long) {}
    static Vector first(int chain) { return vdupq_n_f32(static_cast<float>(chain)); }
    Vector add(Vector sum) const { return vbfmmlaq_f32(sum, a, b); }
    static float value(Vector sum) { return vgetq_lane_f32(sum, 0); }
};

}  // namespace

PeakLoop peak_bf16_neonbf16() {
    return peak_loop<PeakNeonbf16>("bf16", "neon_bf16");
}

}  // namespace latent::kernels
#endif
