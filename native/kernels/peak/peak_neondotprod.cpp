#include "kernels/peak/peak_loops.h"

#if defined(LATENT_NEONDOTPROD)
#include <arm_neon.h>

namespace latent::kernels {
namespace {

struct PeakNeondotprod {
    using Vector = int32x4_t;
    static constexpr int chains = 24;  // enough to hide the latency of four units
    static constexpr double operations = 2.0 * 16;
    int8x16_t a = vdupq_n_s8(1), b = vdupq_n_s8(1);
    explicit PeakNeondotprod(long) {}
    static Vector first(int chain) { return vdupq_n_s32(chain); }
    Vector add(Vector sum) const { return vdotq_s32(sum, a, b); }
    static float value(Vector sum) { return static_cast<float>(vgetq_lane_s32(sum, 0)); }
};

}  // namespace

PeakLoop peak_int8_neondotprod() {
    return peak_loop<PeakNeondotprod>("int8", "neon_dotprod");
}

}  // namespace latent::kernels
#endif
