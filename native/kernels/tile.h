#pragma once

#include <cstdint>

namespace latent::kernels {

// Everything heavy is made of one register tile: 6 rows of a row-major matrix (read as broadcasts, so never repacked) times a
// packed panel of 64 columns. Convolutions, linears and both products of attention differ only in how panels are packed.

constexpr int kTileRows = 6;
constexpr int kTileColumns = 64;

/// How a matrix row is stored.
enum class Element { f32, f16, bf16, other };

/// The operations of one instruction set. A panel holds k x 64 values: float [k][64], or, where `bf16`, pairs of consecutive k as
/// [ceil(k / 2)][64] 32-bit lanes, the last odd one completed by zero. Rows of the tile are in the same element type.
struct TileSet {
    const char * name;
    bool bf16;  // panels and rows are bfloat16 (sums are float32), else float32

    /// c[6][64] = rows[6][k] * panel. `stride`: elements from row to row. For bf16, k is counted in elements and is even.
    void (*multiply)(int64_t k, const void * rows, int64_t stride, const void * panel, float * c);
    /// Packs `count` float rows of 64 (k = first ... first + count - 1; both even for bf16) into the panel.
    void (*pack_rows)(const float * rows, int64_t first, int64_t count, void * panel);
    /// Packs up to 64 tokens x[token * stride + k] into a panel of k rows; missing tokens are zero.
    void (*pack_tokens)(const float * x, int64_t stride, int tokens, int64_t k, void * panel);
    /// Converts one row of k stored elements to this set's; `padded` >= k elements are written, zeros at the end.
    void (*convert_row)(const void * source, Element type, int64_t k, int64_t padded, void * target);
    /// One block of online softmax over keys, a query per column. s[keys][64] are raw scores: s = exp(s * scale - max'), where
    /// max' is the larger of max[64] and the block's. max and sum are updated, correction[64] = exp(max - max').
    void (*softmax)(float * s, int64_t keys, float scale, float * max, float * sum, float * correction);
    /// x[i] *= factor[i % 64] over rows of 64.
    void (*scale_columns)(float * x, int64_t rows, const float * factor);
};

enum class Arithmetic {
    f32,   // float32 throughout
    fast,  // 16-bit products where the processor has them
};

/// The best set that this processor can run. The environment variable LATENT_KERNELS (portable, avx2, avx512, avx512_bf16) forces
/// it down, for tests and measurements; names that the processor lacks are ignored.
const TileSet & tile_set(Arithmetic arithmetic);

/// Every set that this processor can run, the portable one first.
int runnable_tile_sets(const TileSet ** sets, int capacity);

const TileSet & tiles_portable();
const TileSet & tiles_avx2();
const TileSet & tiles_avx512();
const TileSet & tiles_avx512bf16();

}  // namespace latent::kernels
