#pragma once

#include <immintrin.h>

#include <atomic>
#include <cstdint>
#include <cstring>

#include "kernels/common/scratch.h"
#include "kernels/common/tile.h"

// Tile registers of AMX: eight, each of 16 rows of 64 bytes. Include from *_amx.cpp only.

namespace latent::kernels {
namespace {

struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64, "the processor's layout");

/// Gives all eight registers their full size. This is state of the thread, saved with every switch, until release_tiles().
inline void configure_tiles() {
    static const TileConfig config;  // not on the stack: GCC's intrinsic declares only its first bytes as read
    _tile_loadconfig(&config);
}

/// 16 rows that a tile load can read.
struct Rows {
    const uint8_t * at;
    int64_t stride;
};

constexpr int kTileGroup = 16;                    // rows of a register
constexpr int64_t kTileBytes = 64;                // of a row of a register
constexpr int kTileSetRows = 2 * kTileGroup;      // of a tile of sums: two registers
constexpr int64_t kStep = 16;                     // lanes of one product
constexpr int64_t kLaneBytes = kTileColumns * 4;  // of a panel

/// Whether 16 pointers have the same distance.
template <typename P>
bool evenly_spaced(const P * rows) {
    const __m512i first = _mm512_loadu_si512(rows), second = _mm512_loadu_si512(rows + 8);
    const int64_t at = reinterpret_cast<intptr_t>(rows[0]), stride = reinterpret_cast<intptr_t>(rows[1]) - at;
    const __m512i steps = _mm512_setr_epi64(0, stride, 2 * stride, 3 * stride, 4 * stride, 5 * stride, 6 * stride, 7 * stride);
    const __mmask8 same = _mm512_cmpeq_epi64_mask(first, _mm512_add_epi64(_mm512_set1_epi64(at), steps)) &
                          _mm512_cmpeq_epi64_mask(second, _mm512_add_epi64(_mm512_set1_epi64(at + 8 * stride), steps));
    return same == 0xff;
}

/// Copies `bytes` of 16 rows to consecutive memory, `stride` apart, filled up with zeros to a multiple of kTileBytes.
template <typename P>
void copy_rows(const P * rows, int64_t bytes, int64_t stride, uint8_t * to) {
    for (int r = 0; r < kTileGroup; ++r, to += stride) {
        const uint8_t * from = static_cast<const uint8_t *>(rows[r]);
        int64_t i = 0;
        for (; i + kTileBytes <= bytes; i += kTileBytes) _mm512_store_si512(to + i, _mm512_loadu_si512(from + i));
        if (i < bytes) _mm512_store_si512(to + i, _mm512_maskz_loadu_epi8((uint64_t{1} << (bytes - i)) - 1, from + i));
    }
}

/// Groups of 16 rows as tile loads need them: in place if `whole` (they consist of whole steps) and they are evenly spaced,
/// otherwise copied, filled up with zeros to whole steps and one more.
template <typename P>
void arrange(int64_t groups, int64_t bytes, bool whole, const P * rows, Rows * out) {
    const int64_t stride = (bytes + kTileBytes - 1) / kTileBytes * kTileBytes + kTileBytes;
    uint8_t * copies = nullptr;
    for (int64_t i = 0; i < groups; ++i, rows += kTileGroup) {
        const uint8_t * first = static_cast<const uint8_t *>(rows[0]);
        if (whole && evenly_spaced(rows)) {
            out[i] = {first, static_cast<const uint8_t *>(rows[1]) - first};
            continue;
        }
        if (!copies)
            copies = static_cast<uint8_t *>(scratch(Scratch::tile_rows, static_cast<size_t>((groups - i) * kTileGroup * stride)));
        copy_rows(rows, bytes, stride, copies);
        out[i] = {copies, stride};
        copies += kTileGroup * stride;
    }
}

inline void prefetch(const uint8_t * at) {
    _mm_prefetch(reinterpret_cast<const char *>(at), _MM_HINT_T0);
}
inline void prefetch_far(const uint8_t * at) {
    _mm_prefetch(reinterpret_cast<const char *>(at), _MM_HINT_T1);
}

inline void release_tiles() {
    _tile_release();
}

/// Before tile loads of memory that was just written: GCC's intrinsics do not say that they read memory.
inline void finish_stores() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace
}  // namespace latent::kernels
