#pragma once

// The register block of matrix instructions, which multiply 2 rows of 8 bytes by 2 columns of 8 bytes into 2x2 sums: 3 pairs of
// rows times 8 pairs of columns, 24 sums per 3 + 8 loads. Panels have PanelOrder::pairs.
//   M: Sum, mmla(sum, rows, columns) over uint8x16_t
// Compiled once per instruction set; include from *.cpp only.

#include "kernels/common/tile_f32.h"

#if defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>

namespace latent::kernels {
namespace {

constexpr int kRowPairs = kTileRows / 2, kColumnPairs = 8, kBlockColumns = 2 * kColumnPairs;
constexpr int kBlockFloats = kTileRows * kBlockColumns;
constexpr int64_t kStagedPair = kRowPairs * 16;    // bytes of two lanes of the rows
constexpr int64_t kBlockLane = kBlockColumns * 4;  // bytes of a lane of 16 columns

/// Two lanes of six rows in the order of the instructions, out[two lanes][pair of rows][2 rows][8 bytes]; a missing last lane is
/// zero.
inline void stage_pairs(const uint8_t * const * rows, int64_t lanes, uint8_t * out) {
    for (int pair = 0; pair < kRowPairs; ++pair) {
        const uint8_t *a = rows[2 * pair], *b = rows[2 * pair + 1];
        uint8_t * at = out + pair * 16;
        int64_t i = 0;
        for (; i + 4 <= lanes; i += 4, a += 16, b += 16, at += 2 * kStagedPair) {
            const uint64x2_t x = vreinterpretq_u64_u8(vld1q_u8(a)), y = vreinterpretq_u64_u8(vld1q_u8(b));
            vst1q_u8(at, vreinterpretq_u8_u64(vzip1q_u64(x, y)));
            vst1q_u8(at + kStagedPair, vreinterpretq_u8_u64(vzip2q_u64(x, y)));
        }
        for (; i + 2 <= lanes; i += 2, a += 8, b += 8, at += kStagedPair) vst1q_u8(at, vcombine_u8(vld1_u8(a), vld1_u8(b)));
        if (i < lanes) {
            uint32_t last[4] = {};
            std::memcpy(last, a, 4);
            std::memcpy(last + 2, b, 4);
            std::memcpy(at, last, sizeof(last));
        }
    }
}

/// sums += rows (staged) * 16 columns of a panel.
template <typename M>
inline void add_pairs(typename M::Sum (&sums)[kRowPairs][kColumnPairs], int64_t lanes, const uint8_t * staged,
                      const uint8_t * panel) {
    for (; lanes >= 2; lanes -= 2, staged += kStagedPair, panel += 2 * kBlockLane) {
        uint8x16_t a[kRowPairs];
        LATENT_UNROLL_ALL
        for (int r = 0; r < kRowPairs; ++r) a[r] = vld1q_u8(staged + r * 16);
        LATENT_UNROLL_ALL
        for (int v = 0; v < kColumnPairs; ++v) {
            const uint8x16_t b = vld1q_u8(panel + v * 16);
            LATENT_UNROLL_ALL
            for (int r = 0; r < kRowPairs; ++r) sums[r][v] = M::mmla(sums[r][v], a[r], b);
        }
    }
    if (lanes == 0) return;
    LATENT_UNROLL_ALL
    for (int v = 0; v < kColumnPairs; ++v) {
        uint32_t columns[4] = {};
        std::memcpy(columns, panel + v * 8, 4);
        std::memcpy(columns + 2, panel + v * 8 + 4, 4);
        const uint8x16_t b = vreinterpretq_u8_u32(vld1q_u32(columns));
        LATENT_UNROLL_ALL
        for (int r = 0; r < kRowPairs; ++r) sums[r][v] = M::mmla(sums[r][v], vld1q_u8(staged + r * 16), b);
    }
}

/// Where the sums of a block start and end: as 2x2 sums in memory between the parts of a long product, in c at the end.
struct BlockSums {
    bool first, last;  // part of the product
    bool accumulate;   // add to c
    float * parts;     // [3][8][2][2]
    float * c;         // [6][16 of 64]

    float32x4_t before(int r, int v) const { return first ? vdupq_n_f32(0.0f) : vld1q_f32(parts + (r * kColumnPairs + v) * 4); }
    /// Stores the sums of two neighbouring pairs of columns, v and v + 1.
    void put(int r, int v, float32x4_t left, float32x4_t right) const {
        if (!last) {
            vst1q_f32(parts + (r * kColumnPairs + v) * 4, left);
            vst1q_f32(parts + (r * kColumnPairs + v + 1) * 4, right);
            return;
        }
        const float64x2_t x = vreinterpretq_f64_f32(left), y = vreinterpretq_f64_f32(right);
        float32x4_t even = vreinterpretq_f32_f64(vzip1q_f64(x, y)), odd = vreinterpretq_f32_f64(vzip2q_f64(x, y));
        float * out = c + 2 * r * kTileColumns + 2 * v;
        if (accumulate) {
            even = vaddq_f32(even, vld1q_f32(out));
            odd = vaddq_f32(odd, vld1q_f32(out + kTileColumns));
        }
        vst1q_f32(out, even);
        vst1q_f32(out + kTileColumns, odd);
    }
};

}  // namespace
}  // namespace latent::kernels
#endif
