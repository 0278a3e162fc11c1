#include "kernels/peak/peak_loops.h"

#if defined(LATENT_NEONI8MM)
#include <arm_neon.h>

namespace latent::kernels {
namespace {

struct PeakNeoni8mm {
    using Vector = int32x4_t;
    static constexpr int chains = 24;  // enough to hide the latency of four units
    static constexpr double operations = 2.0 * 32;
    uint8x16_t a = vdupq_n_u8(1);
    int8x16_t b = vdupq_n_s8(1);
    explicit PeakNeoni8mm(long) {}
    static Vector first(int chain) { return vdupq_n_s32(chain); }
    Vector add(Vector sum) const { return vusmmlaq_s32(sum, a, b); }
    static float value(Vector sum) { return static_cast<float>(vgetq_lane_s32(sum, 0)); }
};

}  // namespace

PeakLoop peak_int8_neoni8mm() {
    return peak_loop<PeakNeoni8mm>("int8", "neon_i8mm");
}

}  // namespace latent::kernels
#endif
