#pragma once

// Shared by the integer products of arm64. Except for USMMLA, their instructions cannot multiply unsigned by signed, so a row's
// bytes q become q - 128, and sums start at 128 times the sum of the weights (Int8Matrix::sums, whole numbers). Compiled once per
// instruction set; include from int8_*.cpp only.

#include "kernels/arm/lanes_neon.h"
#include "kernels/arm/simd_neon.h"
#include "kernels/common/int8_block.h"

#if defined(__aarch64__) || defined(_M_ARM64)
namespace latent::kernels {
namespace {

inline Int8Scale quantise_neon(const float * x, int64_t count, int64_t padded, uint8_t * q) {
    float rest[4] = {};
    const int64_t whole = count / 4 * 4;
    std::memcpy(rest, x + whole, static_cast<size_t>(count - whole) * sizeof(float));
    float32x4_t low = vdupq_n_f32(0.0f), high = low;
    uint32x4_t clean = vdupq_n_u32(~0u);
    for (int64_t i = 0; i < count; i += 4) {
        const float32x4_t v = vld1q_f32(i < whole ? x + i : rest);
        low = vminq_f32(low, v);
        high = vmaxq_f32(high, v);
        clean = vandq_u32(clean, vceqq_f32(v, v));
    }
    const Int8Map map = int8_map(vminvq_f32(low), vmaxvq_f32(high), vminvq_u32(clean) != 0);
    if (map.factor == 0.0f) {
        std::memset(q, 0, static_cast<size_t>(padded));
        return map.scale;
    }
    const float32x4_t factor = vdupq_n_f32(map.factor);
    const int32x4_t zero = vdupq_n_s32(static_cast<int32_t>(map.zero));
    const auto bytes = [&](const float * p) {
        return vqmovun_s32(vaddq_s32(vcvtnq_s32_f32(vmulq_f32(vld1q_f32(p), factor)), zero));
    };
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) vst1_u8(q + i, vqmovn_u16(vcombine_u16(bytes(x + i), bytes(x + i + 4))));
    for (; i < count; i += 4) {
        uint8_t out[8];
        const uint16x4_t words = bytes(i < whole ? x + i : rest);
        vst1_u8(out, vqmovn_u16(vcombine_u16(words, words)));
        std::memcpy(q + i, out, static_cast<size_t>(count - i < 4 ? count - i : 4));
    }
    for (i = count; i < padded; ++i) q[i] = 0;
    return map.scale;
}

constexpr int64_t kStagedStep = kTileRows * 16;  // bytes of four lanes of the rows

/// Six rows of signed bytes, out[four lanes][row][16].
inline void stage_signed(const uint8_t * const * rows, int64_t lanes, int8_t * out) {
    for (int r = 0; r < kTileRows; ++r) {
        const uint8_t * in = rows[r];
        int8_t * at = out + r * 16;
        int64_t i = 0;
        for (; i + 4 <= lanes; i += 4, in += 16, at += kStagedStep)
            vst1q_s8(at, vreinterpretq_s8_u8(veorq_u8(vld1q_u8(in), vdupq_n_u8(0x80))));
        for (int64_t byte = 0; byte < (lanes - i) * 4; ++byte) at[byte] = static_cast<int8_t>(in[byte] ^ 0x80);
    }
}

/// Int8Set::multiply by lanes (lanes_neon.h) of four signed bytes.
template <typename L>
void multiply_int8_lanes(int64_t segments, const Int8Blocks & blocks, const uint8_t * const * rows,
                         const Int8Scale * const * scales, const int8_t * panel, const float * weight_sums, int columns,
                         bool accumulate, float * c) {
    constexpr int kColumns = L::kVectors * 4;
    int8_t staged[Int8Blocks::kMostLanes / 4 * kStagedStep];
    const uint8_t * b = reinterpret_cast<const uint8_t *>(panel);
    for (int64_t s = 0; s < segments; ++s, rows += kTileRows, scales += kTileRows) {
        for (int64_t block = 0; block < blocks.count; ++block, weight_sums += kTileColumns) {
            const int64_t first = block * blocks.block_lanes, lanes = blocks.lanes_of(block);
            const uint8_t * at[kTileRows];
            for (int r = 0; r < kTileRows; ++r) at[r] = rows[r] + first * 4;
            stage_signed(at, lanes, staged);
            for (int r = 0; r < kTileRows; ++r) at[r] = reinterpret_cast<const uint8_t *>(staged + r * 16);
            for (int column = 0; column < columns; column += kColumns) {
                int32x4_t sums[kTileRows][L::kVectors];
                LATENT_UNROLL_ALL
                for (int v = 0; v < L::kVectors; ++v) {
                    const int32x4_t start = vshlq_n_s32(vcvtq_s32_f32(vld1q_f32(weight_sums + column + v * 4)), 7);
                    LATENT_UNROLL_ALL
                    for (int r = 0; r < kTileRows; ++r) sums[r][v] = start;
                }
                add_lanes<L, kPanelLane>(sums, lanes, at, kStagedStep, b + column * 4);
                LATENT_UNROLL_ALL
                for (int r = 0; r < kTileRows; ++r) {
                    const float32x4_t scale = vdupq_n_f32(scales[r][block].scale), offset = vdupq_n_f32(scales[r][block].offset);
                    LATENT_UNROLL_ALL
                    for (int v = 0; v < L::kVectors; ++v) {
                        float * out = c + r * kTileColumns + column + v * 4;
                        const float32x4_t before = accumulate ? vld1q_f32(out) : vdupq_n_f32(0.0f);
                        const float32x4_t constant = vfmaq_f32(before, offset, vld1q_f32(weight_sums + column + v * 4));
                        vst1q_f32(out, vfmaq_f32(constant, scale, vcvtq_f32_s32(sums[r][v])));
                    }
                }
            }
            accumulate = true;
            b += lanes * kPanelLane;
        }
    }
}

}  // namespace
}  // namespace latent::kernels
#endif
