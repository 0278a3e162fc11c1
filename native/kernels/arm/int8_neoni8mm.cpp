#include "kernels/common/int8.h"

#if defined(LATENT_NEONI8MM)
#include "kernels/arm/int8_neon.h"
#include "kernels/arm/matrix_neon.h"

namespace latent::kernels {
namespace {

struct Int8Matrices {
    using Sum = int32x4_t;
    static Sum mmla(Sum sum, uint8x16_t rows, uint8x16_t columns) {
        return vusmmlaq_s32(sum, rows, vreinterpretq_s8_u8(columns));
    }
};

/// One block of channels of 16 columns: scale * products + offset * sums of the weights.
LATENT_NO_INLINE void multiply_block(int64_t lanes, const uint8_t * staged, const uint8_t * panel,
                                     const Int8Scale * const * scales, int64_t block, const float * weight_sums,
                                     const BlockSums & to) {
    int32x4_t sums[kRowPairs][kColumnPairs];
    LATENT_UNROLL_ALL
    for (int r = 0; r < kRowPairs; ++r) {
        LATENT_UNROLL_ALL
        for (int v = 0; v < kColumnPairs; ++v) sums[r][v] = vdupq_n_s32(0);
    }
    add_pairs<Int8Matrices>(sums, lanes, staged, panel);
    LATENT_UNROLL_ALL
    for (int r = 0; r < kRowPairs; ++r) {
        const Int8Scale even = scales[2 * r][block], odd = scales[2 * r + 1][block];
        const float32x4_t scale = vcombine_f32(vdup_n_f32(even.scale), vdup_n_f32(odd.scale));
        const float32x4_t offset = vcombine_f32(vdup_n_f32(even.offset), vdup_n_f32(odd.offset));
        const auto total = [&](int v) {
            const float32x2_t weights = vld1_f32(weight_sums + v * 2);
            const float32x4_t constant = vfmaq_f32(to.before(r, v), offset, vcombine_f32(weights, weights));
            return vfmaq_f32(constant, scale, vcvtq_f32_s32(sums[r][v]));
        };
        LATENT_UNROLL_ALL
        for (int v = 0; v < kColumnPairs; v += 2) to.put(r, v, total(v), total(v + 1));
    }
}

void multiply(int64_t segments, const Int8Blocks & blocks, const uint8_t * const * rows, const Int8Scale * const * scales,
              const int8_t * panel, const float * weight_sums, int columns, bool accumulate, float * c) {
    uint8_t staged[Int8Blocks::kMostLanes / 2 * kStagedPair];
    float parts[kTileColumns / kBlockColumns][kBlockFloats];
    const uint8_t * b = reinterpret_cast<const uint8_t *>(panel);
    for (int64_t s = 0; s < segments; ++s, rows += kTileRows, scales += kTileRows, b += blocks.row_bytes() * kTileColumns) {
        for (int64_t block = 0; block < blocks.count; ++block, weight_sums += kTileColumns) {
            const int64_t first = block * blocks.block_lanes, lanes = blocks.lanes_of(block);
            const uint8_t * at[kTileRows];
            for (int r = 0; r < kTileRows; ++r) at[r] = rows[r] + first * 4;
            stage_pairs(at, lanes, staged);
            for (int column = 0; column < columns; column += kBlockColumns) {
                const BlockSums to = {s == 0 && block == 0, s + 1 == segments && block + 1 == blocks.count, accumulate,
                                      parts[column / kBlockColumns], c + column};
                multiply_block(lanes, staged, b + column * 4 * blocks.lanes + first * kBlockLane, scales, block,
                               weight_sums + column, to);
            }
        }
    }
}

}  // namespace

const Int8Set & int8_neoni8mm() {
    static const Int8Set set = {"neon_i8mm", PanelOrder::pairs, multiply, quantise_neon, kPanelBytes};
    return set;
}

}  // namespace latent::kernels
#endif
