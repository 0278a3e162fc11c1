#include "kernels/common/tile.h"

#if defined(__aarch64__) || defined(_M_ARM64)
#include "kernels/arm/exp_neon.h"
#include "kernels/arm/lanes_neon.h"
#include "kernels/common/vectors_f32.h"

namespace latent::kernels {
namespace {

struct F32Lanes {
    using Sum = float32x4_t;
    using Lanes = float32x4_t;
    static constexpr int kVectors = 4;

    static Lanes load(const uint8_t * p) { return vld1q_f32(reinterpret_cast<const float *>(p)); }
    static Lanes load_one(const uint8_t * p) { return vld1q_dup_f32(reinterpret_cast<const float *>(p)); }
    template <int kLane>
    static Sum add(Sum sum, Lanes columns, Lanes row) {
        return vfmaq_laneq_f32(sum, columns, row, kLane);
    }
};

constexpr int kColumns = F32Lanes::kVectors * 4;

/// Columns are computed 16 at a time, possibly beyond `columns`.
void multiply(int64_t segments, int64_t lanes, const void * const * rows, const void * panel, int columns, bool accumulate,
              float * c) {
    for (int column = 0; column < columns; column += kColumns) {
        const uint8_t * b = static_cast<const uint8_t *>(panel) + panel_offset<kColumns>(lanes, 0, column) * 4;
        float * out = c + column;
        float32x4_t sums[kTileRows][F32Lanes::kVectors];
        LATENT_UNROLL_ALL
        for (int r = 0; r < kTileRows; ++r) {
            LATENT_UNROLL_ALL
            for (int v = 0; v < F32Lanes::kVectors; ++v)
                sums[r][v] = accumulate ? vld1q_f32(out + r * kTileColumns + v * 4) : vdupq_n_f32(0.0f);
        }
        for (int64_t s = 0; s < segments; ++s, b += lanes * kTileColumns * 4) {
            const uint8_t * a[kTileRows];
            LATENT_UNROLL_ALL
            for (int r = 0; r < kTileRows; ++r) a[r] = static_cast<const uint8_t *>(rows[s * kTileRows + r]);
            add_lanes<F32Lanes, kColumns * 4>(sums, lanes, a, 16, b);
        }
        LATENT_UNROLL_ALL
        for (int r = 0; r < kTileRows; ++r) {
            LATENT_UNROLL_ALL
            for (int v = 0; v < F32Lanes::kVectors; ++v) vst1q_f32(out + r * kTileColumns + v * 4, sums[r][v]);
        }
    }
}

}  // namespace

const TileSet & tiles_neon() {
    static const TileSet set = [] {
        TileSet s = {"neon",
                     false,
                     multiply,
                     pack_tokens_f32<kColumns>,
                     pack_weights_f32<kColumns>,
                     convert_row_f32,
                     softmax_columns<Neon, kColumns>,
                     scale_columns<Neon>,
                     4 * kPanelBytes};
        s.multiply_narrow = multiply_narrow_f32<Neon, 6>;
        return s;
    }();
    return set;
}

const VectorSet & vectors_neon() {
    static const VectorSet set = {"neon",         moments_of<Neon>, column_moments_of<Neon>, affine_of<Neon>, normalise_of<Neon>,
                                  geglu_of<Neon>, finish_of<Neon>,  transpose_plain,         widen_of<Neon>};
    return set;
}

}  // namespace latent::kernels
#endif
