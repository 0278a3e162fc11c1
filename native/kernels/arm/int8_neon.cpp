#include "kernels/common/int8.h"

#if defined(__aarch64__) || defined(_M_ARM64)
#include "kernels/arm/int8_neon.h"

namespace latent::kernels {
namespace {

/// Pairs of products are exact in 16 bits: -128 * 127 twice is above -32768.
struct Int8Lanes {
    using Sum = int32x4_t;
    using Lanes = int8x16_t;
    static constexpr int kVectors = 2;  // fewer, because the products need registers too

    static Lanes load(const uint8_t * p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }
    static Lanes load_one(const uint8_t * p) {
        int32_t quad;
        std::memcpy(&quad, p, sizeof(quad));
        return vreinterpretq_s8_s32(vdupq_n_s32(quad));
    }
    template <int kLane>
    static Sum add(Sum sum, Lanes columns, Lanes row) {
        const int8x16_t x = vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(row), kLane));
        const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(columns)), high = vmull_high_s8(x, columns);
        return vpadalq_s16(sum, vpaddq_s16(low, high));
    }
};

}  // namespace

const Int8Set & int8_neon() {
    static const Int8Set set = {"neon", PanelOrder::lanes, multiply_int8_lanes<Int8Lanes>, quantise_neon, kPanelBytes};
    return set;
}

}  // namespace latent::kernels
#endif
