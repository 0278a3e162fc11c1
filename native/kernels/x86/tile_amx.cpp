#include "kernels/common/tile.h"

#if defined(LATENT_AMX)
#include "kernels/common/tile_f32.h"
#include "kernels/x86/amx.h"

namespace latent::kernels {
namespace {

constexpr int kRows = kTileSetRows, kGroup = kTileGroup;
constexpr int64_t kLine = kTileBytes;  // 16 lanes of a row, or 16 columns of a lane

/// The incomplete last step of each segment's panel, padded with lanes of zeros.
const uint8_t * arrange_tails(int64_t segments, int64_t lanes, const uint8_t * panel) {
    const int64_t tail = lanes % kStep;
    if (tail == 0) return nullptr;
    const int64_t block = kStep * kLaneBytes;
    uint8_t * out = static_cast<uint8_t *>(scratch(Scratch::tile_columns, static_cast<size_t>(segments * block)));
    for (int64_t s = 0; s < segments; ++s) {
        const uint8_t * from = panel + (s * lanes + lanes - tail) * kLaneBytes;
        std::memcpy(out + s * block, from, static_cast<size_t>(tail * kLaneBytes));
        std::memset(out + s * block + tail * kLaneBytes, 0, static_cast<size_t>((kStep - tail) * kLaneBytes));
    }
    return out;
}

/// c[16 * kGroups][16 * kColumns]: registers 0 to 3 are sums, 4 and 5 rows, 6 and 7 columns. A tile load waits for each line that
/// is not in the first-level cache, so the columns of the next step are prefetched; with `ahead`, so are the rows of the next
/// tile, which most likely follow the last segment's.
template <int kGroups, int kColumns, bool kAhead>
void multiply_block(int64_t segments, int64_t lanes, const Rows * rows, const uint8_t * panel, const uint8_t * tails,
                    bool accumulate, float * c) {
    constexpr int64_t kRow = kTileColumns * 4;
    if (accumulate) {
        _tile_loadd(0, c, kRow);
        if constexpr (kColumns > 1) _tile_loadd(1, c + 16, kRow);
        if constexpr (kGroups > 1) _tile_loadd(2, c + kGroup * kTileColumns, kRow);
        if constexpr (kGroups > 1 && kColumns > 1) _tile_loadd(3, c + kGroup * kTileColumns + 16, kRow);
    } else {
        _tile_zero(0);
        if constexpr (kColumns > 1) _tile_zero(1);
        if constexpr (kGroups > 1) _tile_zero(2);
        if constexpr (kGroups > 1 && kColumns > 1) _tile_zero(3);
    }
    const auto step = [](const uint8_t * a0, int64_t stride0, const uint8_t * a1, int64_t stride1, const uint8_t * b) {
        _tile_loadd(6, b, kLaneBytes);
        if constexpr (kColumns > 1) _tile_loadd(7, b + kLine, kLaneBytes);
        _tile_loadd(4, a0, stride0);
        if constexpr (kGroups > 1) _tile_loadd(5, a1, stride1);
        const uint8_t * next = b + kStep * kLaneBytes;
        LATENT_UNROLL_ALL
        for (int i = 0; i < kStep; ++i) {
            prefetch(next + i * kLaneBytes);
            if constexpr (kColumns > 1) prefetch(next + i * kLaneBytes + kLine);
        }
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (kColumns > 1) _tile_dpbf16ps(1, 4, 7);
        if constexpr (kGroups > 1) _tile_dpbf16ps(2, 5, 6);
        if constexpr (kGroups > 1 && kColumns > 1) _tile_dpbf16ps(3, 5, 7);
    };
    const int64_t whole = lanes / kStep, following = rows[segments * kGroups - 1].stride;
    const uint8_t * upcoming = rows[segments * kGroups - 1].at + kGroup * following;
    for (int64_t s = 0; s < segments; ++s, rows += kGroups, panel += lanes * kLaneBytes) {
        const uint8_t *a0 = rows[0].at, *a1 = rows[kGroups - 1].at, *b = panel;
        const int64_t stride0 = rows[0].stride, stride1 = rows[kGroups - 1].stride;
        const int64_t first = s * kRows / segments * following, last = (s + 1) * kRows / segments * following;
        for (int64_t i = 0; i < whole; ++i, a0 += kLine, a1 += kLine, b += kStep * kLaneBytes) {
            step(a0, stride0, a1, stride1, b);
            if constexpr (kAhead)
                for (int64_t r = first; r < last; r += following) prefetch_far(upcoming + r + i * kLine);
        }
        if (tails) step(a0, stride0, a1, stride1, tails + s * kStep * kLaneBytes);
    }
    _tile_stored(0, c, kRow);
    if constexpr (kColumns > 1) _tile_stored(1, c + 16, kRow);
    if constexpr (kGroups > 1) _tile_stored(2, c + kGroup * kTileColumns, kRow);
    if constexpr (kGroups > 1 && kColumns > 1) _tile_stored(3, c + kGroup * kTileColumns + 16, kRow);
}

template <int kGroups>
void multiply_columns(int64_t segments, int64_t lanes, const Rows * rows, const uint8_t * panel, const uint8_t * tails,
                      int columns, bool accumulate, float * c) {
    constexpr int64_t kHalf = kLaneBytes / 2;
    const uint8_t * half = tails ? tails + kHalf : nullptr;
    if (columns <= 16) return multiply_block<kGroups, 1, true>(segments, lanes, rows, panel, tails, accumulate, c);
    multiply_block<kGroups, 2, true>(segments, lanes, rows, panel, tails, accumulate, c);
    if (columns > 48) {
        multiply_block<kGroups, 2, false>(segments, lanes, rows, panel + kHalf, half, accumulate, c + 32);
    } else if (columns > 32) {
        multiply_block<kGroups, 1, false>(segments, lanes, rows, panel + kHalf, half, accumulate, c + 32);
    }
}

void multiply(int64_t segments, int64_t lanes, const void * const * rows, const void * panel, int columns, bool accumulate,
              float * c) {
    const uint8_t * b = static_cast<const uint8_t *>(panel);
    Rows arranged[kMostSegments * kRows / kGroup];
    arrange(segments * (kRows / kGroup), lanes * 4, lanes % kStep == 0, rows, arranged);
    const uint8_t * tails = arrange_tails(segments, lanes, b);
    finish_stores();
    multiply_columns<kRows / kGroup>(segments, lanes, arranged, b, tails, columns, accumulate, c);
}

void multiply_even(int64_t count, int64_t stride, int64_t lanes, const uint8_t * rows, const void * panel, bool accumulate,
                   float * c) {
    const uint8_t * b = static_cast<const uint8_t *>(panel);
    finish_stores();
    for (int64_t r = 0; r < count; r += kRows, rows += kRows * stride, c += kRows * kTileColumns) {
        const Rows both[2] = {{rows, stride}, {rows + kGroup * stride, stride}};
        if (count - r > kGroup) {
            multiply_columns<2>(1, lanes, both, b, nullptr, kTileColumns, accumulate, c);
        } else {
            multiply_columns<1>(1, lanes, both, b, nullptr, kTileColumns, accumulate, c);
        }
    }
}

}  // namespace

const TileSet & tiles_amx() {
    static const TileSet set = []() noexcept {
        TileSet amx = tiles_avx512bf16();
        amx.name = "amx_bf16";
        amx.multiply = multiply;
        amx.multiply_even = multiply_even;
        amx.rows = kRows;
        amx.depth = 2 * kStep;
        amx.panel_bytes = int64_t{1} << 20;
        amx.begin = configure_tiles;
        amx.end = release_tiles;
        return amx;
    }();
    return set;
}

}  // namespace latent::kernels
#endif
