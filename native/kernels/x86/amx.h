#pragma once

#include <immintrin.h>

#include <atomic>
#include <cstdint>
#include <cstring>

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

inline void release_tiles() {
    _tile_release();
}

/// Before tile loads of memory that was just written: GCC's intrinsics do not say that they read memory.
inline void finish_stores() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace
}  // namespace latent::kernels
