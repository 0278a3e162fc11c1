#pragma once

#include <cstdint>

namespace latent::kernels {

// All heavy operations use one tile: some rows times a packed panel of 64 columns. Rows are read from wherever they are in
// memory: pixels of a channels-last map (the taps of a convolution are other addresses of the same pixels), tokens, keys. Panels
// contain weights, queries or scores.

constexpr int kTileRows = 6;       // of sets that keep the sums of a tile in vector registers
constexpr int kMostTileRows = 32;  // of any set
constexpr int kTileColumns = 64;
constexpr int kNarrowColumns = 4;  // RGB, the latents of most models
constexpr int64_t kNarrowStep = 16;
constexpr int kMostSegments = 64;  // of one product; convolutions with more taps are split

/// Element type of a stored matrix row.
enum class Element { f32, f16, bf16, other };

/// ggml's block types that a set may convert by itself.
enum class Block { unknown, q4_0, q5_0, q8_0, q4_k, q5_k, q6_k };

/// Columns `column` to `column` + 15 of a panel with `lanes` lanes per tap, from lane `first_lane` on. first_lane is a multiple
/// of 4, and so are the channels of every part but the last.
struct PanelPart {
    int column = 0;
    int64_t first_lane = 0, lanes = 0;
};

/// The operations of one instruction set. A panel has `lanes` times 64 lanes of 32 bits per tap, in an order specific to the set
/// and to `lanes`; [lane][64] below says which, not where. A lane is one float or, if `bf16`, a pair of two consecutive k, padded
/// with zero if k is odd. Rows of the tile have the same element type.
struct TileSet {
    const char * name;
    bool bf16;  // panels and rows are bfloat16 (sums are float32), else float32

    /// c[R][64] = (accumulate ? c : 0) + sum over segments s: rows[R * s + r][lanes] * panel[s * lanes ...], R = `rows` below.
    /// Only the first `columns` of c are needed; the others may be left unchanged.
    void (*multiply)(int64_t segments, int64_t lanes, const void * const * rows, const void * panel, int columns, bool accumulate,
                     float * c);
    /// Packs up to 64 tokens x[token * stride + k] into a panel of lanes(k) rows; missing tokens are zero.
    void (*pack_tokens)(const float * x, int64_t stride, int tokens, int64_t k, void * panel);
    /// Packs `channels` channels of 16 weight rows of this set's element type, `stride` elements apart, row[channel * taps +
    /// tap], into a part of panel[tap - first_tap][lane][64] for taps first_tap ... last_tap - 1.
    void (*pack_weights)(const void * rows, int64_t stride, int64_t channels, int taps, int first_tap, int last_tap,
                         const PanelPart & part, void * panel);
    /// Converts one row of k stored elements to the set's type; writes `padded` >= k elements, zeros at the end.
    void (*convert_row)(const void * source, Element type, int64_t k, int64_t padded, void * target);
    /// One block of online softmax over keys, a query per column: panel[keys][64] = exp((s - offset) * scale - max'), where
    /// s[keys][64] are raw scores plus `offset`, and max' is the larger of max[64] and the block's. max and sum are updated,
    /// correction[64] = exp(max - max').
    void (*softmax)(const float * s, int64_t keys, float scale, float offset, float * max, float * sum, float * correction,
                    void * panel);
    /// x[i] *= factor[i % 64] over rows of 64.
    void (*scale_columns)(float * x, int64_t rows, const float * factor);
    /// Bytes of a panel that a convolution processes at a time, tile after tile: less than the second-level cache.
    int64_t panel_bytes = int64_t{3} << 18;
    int rows = kTileRows;
    /// A multiple of 2. With bfloat16, rows and panels whose length is a multiple of it are read in place; others cost a copy.
    int depth = 2;
    /// The product of evenly spaced rows, if the set has a faster way than multiply(): c[count][64] = (accumulate ? c : 0) + rows
    /// times a panel. Rows lie `stride` bytes apart; up to the next multiple of 16 they must be readable, and so must c.
    void (*multiply_even)(int64_t count, int64_t stride, int64_t lanes, const uint8_t * rows, const void * panel, bool accumulate,
                          float * c) = nullptr;
    /// multiply() for at most kNarrowColumns columns and a multiple of kNarrowStep lanes, if the set has a faster way: rows and
    /// panel[segment][kNarrowColumns][lanes] are read along the lanes, because the columns do not fill a vector.
    void (*multiply_narrow)(int64_t segments, int64_t lanes, const void * const * rows, const float * panel, int columns,
                            bool accumulate, float * c) = nullptr;
    /// Converts a row of k weights in whole blocks to the set's type, faster than through float32, if not null. False for types
    /// that it does not know.
    bool (*convert_blocks)(Block type, const void * blocks, int64_t k, void * target) = nullptr;
    /// Called by a thread before and after its products, if not null.
    void (*begin)() = nullptr;
    void (*end)() = nullptr;

    int64_t element_bytes() const { return bf16 ? 2 : 4; }
    int64_t lanes(int64_t k) const { return bf16 ? (k + 1) / 2 : k; }
    /// k of rows and panels that are read in place. Float32 panels must have no more lanes than were packed: their order depends
    /// on the number.
    int64_t padded(int64_t k) const { return bf16 ? (k + depth - 1) / depth * depth : k; }
};

/// A thread's use of the products of a set.
class TileUse {
public:
    template <typename Set>  // TileSet or Int8Set
    explicit TileUse(const Set & set) : end_(set.end) {
        if (set.begin) set.begin();
    }
    ~TileUse() {
        if (end_) end_();
    }
    TileUse(const TileUse &) = delete;
    TileUse & operator=(const TileUse &) = delete;

private:
    void (*end_)();
};

enum class Arithmetic {
    f32,   // float32 throughout
    fast,  // 16-bit products if the processor supports them
};

/// The best set that this processor supports. The environment variable LATENT_KERNELS limits it, for tests and measurements:
/// portable, avx2, avx_vnni, avx512, avx512_bf16, avx512_vnni, amx_bf16, amx_int8; on arm64 portable, neon, neon_dotprod,
/// neon_bf16, neon_i8mm, in this order. Throws if it names anything else or a set that the processor does not support (see
/// kernels_allowed() in choice.h).
const TileSet & tile_set(Arithmetic arithmetic);

/// The best of `count` sets, given from the least to the most capable. With `slow_bf16`, bfloat16 in vector registers is not
/// worth it (CpuFeatures::slow_avx512_bf16).
const TileSet & best_tile_set(const TileSet * const * sets, int count, Arithmetic arithmetic, bool slow_bf16);

/// Every set that this processor supports, the portable one first.
int runnable_tile_sets(const TileSet ** sets, int capacity);

const TileSet & tiles_portable();
const TileSet & tiles_avx2();
const TileSet & tiles_avx512();
const TileSet & tiles_avx512bf16() noexcept;
const TileSet & tiles_amx();
const TileSet & tiles_neon();
const TileSet & tiles_neonbf16();

}  // namespace latent::kernels
