#pragma once

#include <cstdint>

#include "kernels/common/tile.h"

namespace latent::kernels {

// Products of 8-bit integers. Activations are quantised at run time, per row (pixel or token) and block of channels, to unsigned
// bytes: x = scale * q + offset, zero exactly representable. Weights are quantised at load, per output channel, to signed bytes:
// w = scale * q. Sums are 32-bit and exact, so that every instruction set gives the same numbers up to the last float addition.
//
// A row with NaN, infinities or a range beyond float gets the scale NaN, so its results are NaN.

/// How the channels of a row are divided into blocks with one scale each.
struct Int8Blocks {
    static constexpr int64_t kMostLanes =
        80;                   // of a block: 320 channels, beside whose products 48 conversions and additions are 3 %
    int64_t lanes = 0;        // groups of 4 channels, the last one padded with zeros
    int64_t block_lanes = 0;  // lanes per block; the last block may be shorter
    int64_t count = 0;        // number of blocks

    explicit Int8Blocks(int64_t channels);
    int64_t row_bytes() const { return 4 * lanes; }
    int64_t lanes_of(int64_t block) const { return block + 1 < count ? block_lanes : lanes - block * block_lanes; }
};

/// The order of a tap's bytes in a panel.
enum class PanelOrder {
    lanes,  // [lane][64 columns][4]
    pairs,  // [4 blocks of columns][block of channels][pair of lanes][16 columns][2 lanes][4]; an odd last lane of a block of
            // channels [16 columns][4]
};

/// Of a block of a row: x = scale * q + offset.
struct Int8Scale {
    float scale, offset;
};

/// Scores of attention: queries times keys. Keys are quantised to q = round((x - mean) / scale) + 128, with one scale for a block
/// of keys, and queries to round(x / scale), with one scale for 64 of them, so that sums stay below 2^22 in magnitude. The
/// softmax over the keys does not depend on the mean of the keys, which is usually larger than their differences, nor on the 128.
/// A block with a value that is not finite gets the scale NaN.
struct Int8Scores {
    /// 1.5 * 2^23: the bits of a float near it are a constant plus its distance.
    static constexpr float kOffset = 12582912.0f;
    static constexpr int64_t kMostDim = 256;

    /// Quantises keys x[key * stride + d] - mean[d], d < dim, to rows of `row_bytes` >= dim bytes, and returns the scale.
    float (*quantise_keys)(const float * x, int64_t stride, int64_t keys, int64_t dim, const float * mean, int64_t row_bytes,
                           uint8_t * rows);
    /// Packs up to 64 queries x[query * stride + d] into panel[lane][64][4], the missing ones and the channels beyond `dim` zero.
    /// start[64] is what a sum starts with: the bits of the float kOffset, minus 128 times the sum of a query's bytes. Returns
    /// the scale.
    float (*pack_queries)(const float * x, int64_t stride, int queries, int64_t dim, int8_t * panel, int32_t * start);
    /// scores[keys][64] = the bits of start + rows * panel: float32 numbers, not yet scaled, plus kOffset. Rows and scores go on
    /// to the next multiple of 6.
    void (*multiply)(int64_t keys, int64_t lanes, const uint8_t * rows, const int8_t * panel, const int32_t * start,
                     void * scores);
};

/// The operations of one instruction set.
struct Int8Set {
    const char * name;
    PanelOrder order;
    /// c[R][64] = (accumulate ? c : 0) + sum over segments and blocks of scale * (sum of q * w) + offset * sums, R = `tile_rows`.
    /// rows[R * s + r] points to bytes, scales[R * s + r] to that row's blocks; panel[segment] in the set's order,
    /// sums[segment][block][64] are the sums of the panel's bytes over a block.
    void (*multiply)(int64_t segments, const Int8Blocks & blocks, const uint8_t * const * rows, const Int8Scale * const * scales,
                     const int8_t * panel, const float * sums, int columns, bool accumulate, float * c);
    /// Quantises one block of `count` channels; q[count ... padded - 1] = 0.
    Int8Scale (*quantise)(const float * x, int64_t count, int64_t padded, uint8_t * q);
    /// Bytes of a panel that a convolution takes at a time, tile after tile: three quarters of a second level of 1 MiB.
    int64_t panel_bytes = int64_t{3} << 18;
    int tile_rows = kTileRows;
    /// Called by a thread before and after its products, if not null.
    void (*begin)() = nullptr;
    void (*end)() = nullptr;
    /// Null if the set's tiles compute scores as fast.
    const Int8Scores * scores = nullptr;
};

/// The best set that this processor supports and LATENT_KERNELS allows.
const Int8Set & int8_set();
/// Every set that this processor supports, the portable one first.
int runnable_int8_sets(const Int8Set ** sets, int capacity);

const Int8Set & int8_portable();
const Int8Set & int8_avx2();                 // the same sums from 16-bit products
const Int8Set & int8_avxvnni();              // 256-bit VPDPBUSD
const Int8Set & int8_avx512vnni() noexcept;  // 512-bit VPDPBUSD
const Int8Set & int8_amx();                  // tiles of AMX
const Int8Set & int8_neon();                 // the same sums from 16-bit products
const Int8Set & int8_neondotprod();          // SDOT
const Int8Set & int8_neoni8mm();             // USMMLA

/// Weights in the layout of the products. For each panel of 64 output channels: the bytes, tap by tap in the order of the set;
/// the output channels' scales [64]; and the sums [tap][block][64].
struct Int8Matrix {
    const uint8_t * data = nullptr;
    int64_t rows = 0, channels = 0;
    int taps = 1;

    int64_t panel_bytes() const;  // only the bytes
    int64_t panel_stride() const;
    static int64_t bytes(int64_t rows, int64_t channels, int taps);

    const int8_t * panel(int64_t index) const;
    const float * scales(int64_t index) const;
    const float * sums(int64_t index) const;
};

/// The offset of lane `lane` of column `column` in a tap of a panel.
int64_t int8_panel_offset(PanelOrder order, const Int8Blocks & blocks, int64_t lane, int column);

/// Packs one panel: rows first ... first + 63 (zero beyond `matrix.rows`), read as float32 by `row(i, target)` with k = channel *
/// taps + tap.
using RowReader = void (*)(void * user, int64_t row, float * target);
void pack_int8_panel(PanelOrder order, const Int8Matrix & matrix, int64_t index, RowReader reader, void * user, uint8_t * data);

}  // namespace latent::kernels
