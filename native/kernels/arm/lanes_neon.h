#pragma once

// The register block of instructions that multiply by one 32-bit lane of a register ("by element"): 6 rows times 16 columns of a
// panel, whose lanes are kLaneBytes apart. A row is read four lanes at a time and needs no broadcast: 96 multiply-adds per 6 + 16
// loads. 24 sums, 6 rows and 2 registers of columns use all 32 registers.
//   L: Sum, Lanes, kVectors, load(p), load_one(p), add<lane>(sum, columns, row)
// Compiled once per instruction set; include from *.cpp only.

#include "kernels/common/tile_f32.h"

#if defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>

namespace latent::kernels {
namespace {

constexpr int64_t kPanelLane = kTileColumns * 4;  // bytes

template <typename L, int kLane>
inline void add_lane(typename L::Sum (&sums)[kTileRows][L::kVectors], const typename L::Lanes (&rows)[kTileRows],
                     const uint8_t * columns) {
    LATENT_UNROLL_ALL
    for (int v = 0; v < L::kVectors; ++v) {
        const typename L::Lanes b = L::load(columns + v * 16);
        LATENT_UNROLL_ALL
        for (int r = 0; r < kTileRows; ++r) sums[r][v] = L::template add<kLane>(sums[r][v], b, rows[r]);
    }
}

/// sums += rows * panel. Four lanes of row r are the 16 bytes at rows[r], the next four `step` bytes on.
template <typename L, int64_t kLaneBytes>
inline void add_lanes(typename L::Sum (&sums)[kTileRows][L::kVectors], int64_t lanes, const uint8_t * const (&rows)[kTileRows],
                      int64_t step, const uint8_t * panel) {
    typename L::Lanes a[kTileRows];
    int64_t at = 0, i = 0;
    for (; i + 4 <= lanes; i += 4, at += step, panel += 4 * kLaneBytes) {
        LATENT_UNROLL_ALL
        for (int r = 0; r < kTileRows; ++r) a[r] = L::load(rows[r] + at);
        add_lane<L, 0>(sums, a, panel);
        add_lane<L, 1>(sums, a, panel + kLaneBytes);
        add_lane<L, 2>(sums, a, panel + 2 * kLaneBytes);
        add_lane<L, 3>(sums, a, panel + 3 * kLaneBytes);
    }
    for (; i < lanes; ++i, at += 4, panel += kLaneBytes) {
        LATENT_UNROLL_ALL
        for (int r = 0; r < kTileRows; ++r) a[r] = L::load_one(rows[r] + at);
        add_lane<L, 0>(sums, a, panel);
    }
}

}  // namespace
}  // namespace latent::kernels
#endif
