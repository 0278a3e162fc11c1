#include "kernels/peak/peak_loops.h"

#if defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>

namespace latent::kernels {
namespace {

struct PeakNeon {
    using Vector = float32x4_t;
    static constexpr int chains = 24;  // enough to hide the latency of four units
    static constexpr double operations = 2.0 * 4;
    // `a` is not a constant, because compilers would load it again in every round.
    Vector a, b = vdupq_n_f32(0.5f);
    explicit PeakNeon(long iterations) : a(vdupq_n_f32(1.0f / static_cast<float>(iterations))) {}
    static Vector first(int chain) { return vdupq_n_f32(static_cast<float>(chain)); }
    Vector add(Vector sum) const { return vfmaq_f32(sum, a, b); }
    static constexpr int lanes = 4;
    static Vector load(const float * x) { return vld1q_f32(x); }
    static Vector sum(Vector x, Vector y) { return vaddq_f32(x, y); }
    static float value(Vector sum) { return vgetq_lane_f32(sum, 0); }
};

}  // namespace

PeakLoop peak_f32_neon() {
    return float_loop<PeakNeon>("neon");
}

}  // namespace latent::kernels
#endif
