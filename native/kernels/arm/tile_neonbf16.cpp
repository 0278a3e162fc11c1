#include "kernels/common/tile.h"

#if defined(LATENT_NEONBF16)
#include "kernels/arm/exp_neon.h"
#include "kernels/arm/matrix_neon.h"

// BFMMLA does twice the work of BFDOT per instruction, at the same rate on most cores, and needs panels and rows in pairs: four
// consecutive k of a column are adjacent, PanelOrder::pairs, [4 blocks of columns][pair of lanes][16 columns][4 k].

namespace latent::kernels {
namespace {

struct Bf16Matrices {
    using Sum = float32x4_t;
    static Sum mmla(Sum sum, uint8x16_t rows, uint8x16_t columns) {
        return vbfmmlaq_f32(sum, vreinterpretq_bf16_u8(rows), vreinterpretq_bf16_u8(columns));
    }
};

constexpr int64_t kMostPairs = 480;  // staged at once: 23 kB stay in the first-level cache while the panel streams through

/// Staged rows times 16 columns of `segments` panels, `stride` bytes apart.
void multiply_block(int64_t segments, int64_t lanes, const uint8_t * staged, const uint8_t * panel, int64_t stride,
                    const BlockSums & to) {
    float32x4_t sums[kRowPairs][kColumnPairs];
    LATENT_UNROLL_ALL
    for (int r = 0; r < kRowPairs; ++r) {
        LATENT_UNROLL_ALL
        for (int v = 0; v < kColumnPairs; ++v) sums[r][v] = to.before(r, v);
    }
    for (int64_t s = 0; s < segments; ++s, staged += (lanes + 1) / 2 * kStagedPair, panel += stride)
        add_pairs<Bf16Matrices>(sums, lanes, staged, panel);
    LATENT_UNROLL_ALL
    for (int r = 0; r < kRowPairs; ++r) {
        LATENT_UNROLL_ALL
        for (int v = 0; v < kColumnPairs; v += 2) to.put(r, v, sums[r][v], sums[r][v + 1]);
    }
}

void multiply(int64_t segments, int64_t lanes, const void * const * rows, const void * panel, int columns, bool accumulate,
              float * c) {
    uint8_t staged[kMostPairs * kStagedPair];
    float parts[kTileColumns / kBlockColumns][kBlockFloats];
    const int64_t pairs = (lanes + 1) / 2, segment_bytes = lanes * kTileColumns * 4;
    const int64_t most = pairs < kMostPairs ? kMostPairs / pairs : 1;  // segments staged at once
    const uint8_t * b = static_cast<const uint8_t *>(panel);
    for (int64_t s = 0; s < segments; s += most, b += most * segment_bytes) {
        const int64_t count = segments - s < most ? segments - s : most;
        for (int64_t first = 0; first < lanes; first += 2 * kMostPairs) {
            const int64_t part = lanes - first < 2 * kMostPairs ? lanes - first : 2 * kMostPairs;
            for (int64_t i = 0; i < count; ++i) {
                const uint8_t * at[kTileRows];
                for (int r = 0; r < kTileRows; ++r)
                    at[r] = static_cast<const uint8_t *>(rows[(s + i) * kTileRows + r]) + first * 4;
                stage_pairs(at, part, staged + i * pairs * kStagedPair);
            }
            for (int column = 0; column < columns; column += kBlockColumns) {
                const BlockSums to = {s == 0 && first == 0, s + count == segments && first + part == lanes, accumulate,
                                      parts[column / kBlockColumns], c + column};
                multiply_block(count, part, staged, b + column * 4 * lanes + first * kBlockLane, segment_bytes, to);
            }
        }
    }
}

inline uint16x4_t to_bf16(float32x4_t x) {
    return vreinterpret_u16_bf16(vcvt_bf16_f32(x));
}

inline uint16x8_t to_bf16(float32x4_t low, float32x4_t high) {
    return vreinterpretq_u16_bf16(vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(low), high));
}

/// 2^x for -125 <= x <= 0 (below, as at -125), degree 3 over [-1/2, 1/2]: relative error below 8e-5, a twentieth of the rounding
/// error of bfloat16. Adding 1.5 * 2^23 leaves the integer part in the last bits.
inline float32x4_t exp2_coarse(float32x4_t x) {
    const float32x4_t magic = vdupq_n_f32(12582912.0f), bounded = vmaxq_f32(x, vdupq_n_f32(-125.0f));
    const float32x4_t shifted = vaddq_f32(bounded, magic), r = vsubq_f32(bounded, vsubq_f32(shifted, magic));
    float32x4_t p = vfmaq_f32(vdupq_n_f32(0.242611122f), vdupq_n_f32(0.0551716691f), r);
    p = vfmaq_f32(vdupq_n_f32(0.693260985f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.999928074f), p, r);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23)));
}

/// [4 keys][4 queries] to [4 queries][4 keys].
inline uint16x8x2_t interleave(uint16x8_t low, uint16x8_t high) {
    const uint16x8_t even = vzip1q_u16(low, high), odd = vzip2q_u16(low, high);
    uint16x8x2_t out;
    out.val[0] = vzip1q_u16(even, odd);
    out.val[1] = vzip2q_u16(even, odd);
    return out;
}

void softmax(const float * s, int64_t keys, float scale, float offset, float * max, float * sum, float * correction,
             void * panel) {
    const int64_t lanes = (keys + 1) / 2;
    for (int column = 0; column < kTileColumns; column += 4) {
        const float * at = s + column;
        float32x4_t even = vdupq_n_f32(-std::numeric_limits<float>::infinity()), odd = even;
        int64_t key = 0;
        for (; key + 2 <= keys; key += 2) {
            even = vmaxq_f32(even, vld1q_f32(at + key * kTileColumns));
            odd = vmaxq_f32(odd, vld1q_f32(at + (key + 1) * kTileColumns));
        }
        if (key < keys) even = vmaxq_f32(even, vld1q_f32(at + key * kTileColumns));
        const float32x4_t before = vld1q_f32(max + column);
        const float32x4_t now = vmaxq_f32(before, vmulq_n_f32(vsubq_f32(vmaxq_f32(even, odd), vdupq_n_f32(offset)), scale));
        const float32x4_t factor = vdupq_n_f32(scale * kLog2E);
        const float32x4_t highest = vfmsq_n_f32(vmulq_n_f32(now, -kLog2E), factor, offset);
        float32x4_t total = vdupq_n_f32(0.0f), other = total;
        uint8_t * out = static_cast<uint8_t *>(panel) + column / kBlockColumns * lanes * kBlockLane;
        const int pair_at = column % kBlockColumns * 8;
        const auto power = [&](int64_t i) { return exp2_coarse(vfmaq_f32(highest, vld1q_f32(at + i * kTileColumns), factor)); };
        const auto add = [&](float32x4_t p0, float32x4_t p1, float32x4_t p2, float32x4_t p3) {
            total = vaddq_f32(total, vaddq_f32(p0, p1));
            other = vaddq_f32(other, vaddq_f32(p2, p3));
            return interleave(to_bf16(p0, p1), to_bf16(p2, p3));
        };
        for (key = 0; key + 4 <= keys; key += 4, out += 2 * kBlockLane) {
            const uint16x8x2_t x = add(power(key), power(key + 1), power(key + 2), power(key + 3));
            vst1q_u16(reinterpret_cast<uint16_t *>(out + pair_at), x.val[0]);
            vst1q_u16(reinterpret_cast<uint16_t *>(out + pair_at + 16), x.val[1]);
        }
        if (key < keys) {
            const float32x4_t none = vdupq_n_f32(0.0f);
            const uint16x8x2_t x =
                add(power(key), key + 1 < keys ? power(key + 1) : none, key + 2 < keys ? power(key + 2) : none, none);
            if (key + 2 < keys) {
                vst1q_u16(reinterpret_cast<uint16_t *>(out + pair_at), x.val[0]);
                vst1q_u16(reinterpret_cast<uint16_t *>(out + pair_at + 16), x.val[1]);
            } else {  // a last single lane
                vst1q_u32(reinterpret_cast<uint32_t *>(out + pair_at / 2),
                          vuzp1q_u32(vreinterpretq_u32_u16(x.val[0]), vreinterpretq_u32_u16(x.val[1])));
            }
        }
        const float32x4_t shrink = Neon::exp({vsubq_f32(before, now)}).v;
        vst1q_f32(correction + column, shrink);
        vst1q_f32(max + column, now);
        vst1q_f32(sum + column, vfmaq_f32(vaddq_f32(total, other), vld1q_f32(sum + column), shrink));
    }
}

void pack_tokens(const float * x, int64_t stride, int tokens, int64_t k, void * panel) {
    const int64_t lanes = (k + 1) / 2;
    for (int t = 0; t < kTileColumns; ++t, x += stride) {
        const int column = t % kBlockColumns;
        uint8_t * out = static_cast<uint8_t *>(panel) + t / kBlockColumns * lanes * kBlockLane;
        int64_t i = 0;
        for (; i + 2 < k; i += 4, out += 2 * kBlockLane) {
            float32x4_t four = vdupq_n_f32(0.0f);
            if (t < tokens && i + 4 <= k) {
                four = vld1q_f32(x + i);
            } else if (t < tokens) {
                const float last[4] = {x[i], x[i + 1], x[i + 2], 0.0f};
                four = vld1q_f32(last);
            }
            vst1_u16(reinterpret_cast<uint16_t *>(out + column * 8), to_bf16(four));
        }
        if (i >= k) continue;
        uint16_t pair[2] = {0, 0};  // a last single lane
        if (t < tokens) pair[0] = float_to_bfloat(x[i]);
        if (t < tokens && i + 1 < k) pair[1] = float_to_bfloat(x[i + 1]);
        std::memcpy(out + column * 4, pair, sizeof(pair));
    }
}

/// Four channels of four taps of a row: in[channel * taps + tap] to four k at out[tap * stride].
inline void pack_taps(const uint16_t * in, int64_t taps, uint8_t * out, int64_t stride) {
    const uint16x4_t c0 = vld1_u16(in), c1 = vld1_u16(in + taps), c2 = vld1_u16(in + 2 * taps), c3 = vld1_u16(in + 3 * taps);
    const uint16x8_t even = vcombine_u16(vzip1_u16(c0, c2), vzip2_u16(c0, c2)),
                     odd = vcombine_u16(vzip1_u16(c1, c3), vzip2_u16(c1, c3));
    const uint16x8_t low = vzip1q_u16(even, odd), high = vzip2q_u16(even, odd);
    vst1_u16(reinterpret_cast<uint16_t *>(out), vget_low_u16(low));
    vst1_u16(reinterpret_cast<uint16_t *>(out + stride), vget_high_u16(low));
    vst1_u16(reinterpret_cast<uint16_t *>(out + 2 * stride), vget_low_u16(high));
    vst1_u16(reinterpret_cast<uint16_t *>(out + 3 * stride), vget_high_u16(high));
}

void pack_weights(const void * rows, int64_t stride, int64_t channels, int taps, int first_tap, int last_tap,
                  const PanelPart & part, void * panel) {
    const uint16_t * in = static_cast<const uint16_t *>(rows);
    const int64_t tap_bytes = part.lanes * kTileColumns * 4;
    uint8_t * out = static_cast<uint8_t *>(panel) + (part.column / kBlockColumns * part.lanes + part.first_lane) * kBlockLane;
    int64_t c = 0;
    for (; c + 2 < channels; c += 4, out += 2 * kBlockLane) {
        const int64_t count = channels - c < 4 ? channels - c : 4;
        for (int r = 0; r < kBlockColumns; ++r) {
            const uint16_t * at = in + r * stride + c * taps;
            uint8_t * to = out + r * 8;
            int tap = first_tap;
            for (; count == 4 && tap + 4 <= last_tap; tap += 4, to += 4 * tap_bytes) pack_taps(at + tap, taps, to, tap_bytes);
            for (; tap < last_tap; ++tap, to += tap_bytes) {
                uint16_t four[4] = {0, 0, 0, 0};
                for (int64_t i = 0; i < count; ++i) four[i] = at[i * taps + tap];
                std::memcpy(to, four, sizeof(four));
            }
        }
    }
    if (c >= channels) return;
    for (int r = 0; r < kBlockColumns; ++r) {  // a last single lane
        const uint16_t * at = in + r * stride + c * taps;
        for (int tap = first_tap; tap < last_tap; ++tap) {
            const uint16_t pair[2] = {at[tap], c + 1 < channels ? at[taps + tap] : static_cast<uint16_t>(0)};
            std::memcpy(out + (tap - first_tap) * tap_bytes + r * 4, pair, sizeof(pair));
        }
    }
}

void convert_row(const void * source, Element type, int64_t k, int64_t padded, void * target) {
    uint16_t * out = static_cast<uint16_t *>(target);
    int64_t i = 0;
    if (type == Element::bf16) {
        std::memcpy(out, source, static_cast<size_t>(k) * 2);
        i = k;
    } else if (type == Element::f16) {
        const uint16_t * half = static_cast<const uint16_t *>(source);
        for (; i + 8 <= k; i += 8) {
            const float16x8_t x = vreinterpretq_f16_u16(vld1q_u16(half + i));
            vst1q_u16(out + i, to_bf16(vcvt_f32_f16(vget_low_f16(x)), vcvt_high_f32_f16(x)));
        }
        for (; i < k; ++i) out[i] = float_to_bfloat(half_to_float(half[i]));
    } else {
        const float * full = static_cast<const float *>(source);
        for (; i + 8 <= k; i += 8) vst1q_u16(out + i, to_bf16(vld1q_f32(full + i), vld1q_f32(full + i + 4)));
        for (; i < k; ++i) out[i] = float_to_bfloat(full[i]);
    }
    for (; i < padded; ++i) out[i] = 0;
}

}  // namespace

const TileSet & tiles_neonbf16() {
    static const TileSet set = {"neon_bf16",         true,       multiply, pack_tokens, pack_weights, convert_row, softmax,
                                scale_columns<Neon>, kPanelBytes};
    return set;
}

}  // namespace latent::kernels
#endif
