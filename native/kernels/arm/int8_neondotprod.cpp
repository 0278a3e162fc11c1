#include "kernels/common/int8.h"

#if defined(LATENT_NEONDOTPROD)
#include "kernels/arm/int8_neon.h"

namespace latent::kernels {
namespace {

struct Int8Dots {
    using Sum = int32x4_t;
    using Lanes = int8x16_t;
    static constexpr int kVectors = 4;

    static Lanes load(const uint8_t * p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }
    static Lanes load_one(const uint8_t * p) {
        int32_t quad;
        std::memcpy(&quad, p, sizeof(quad));
        return vreinterpretq_s8_s32(vdupq_n_s32(quad));
    }
    template <int kLane>
    static Sum add(Sum sum, Lanes columns, Lanes row) {
        return vdotq_laneq_s32(sum, columns, row, kLane);
    }
};

}  // namespace

const Int8Set & int8_neondotprod() {
    static const Int8Set set = {"neon_dotprod", PanelOrder::lanes, multiply_int8_lanes<Int8Dots>, quantise_neon, kPanelBytes};
    return set;
}

}  // namespace latent::kernels
#endif
