#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace latent::kernels {

/// Uses of a thread's scratch memory. Functions that call each other need different ones.
enum class Scratch {
    panel,
    gate_panel,
    sums,
    weight_rows,
    float_row,
    zero_row,
    attention_head,
    attention_work,
    tile_rows,
    tile_columns,
    count
};

/// A growing buffer of this thread, one per use; 64-byte aligned, contents undefined. Freed with the thread.
inline void * scratch(Scratch use, size_t bytes) {
    thread_local std::vector<uint8_t> buffers[static_cast<int>(Scratch::count)];
    std::vector<uint8_t> & buffer = buffers[static_cast<int>(use)];
    if (buffer.size() < bytes + 64) buffer.resize(bytes + 64);
    const uintptr_t at = reinterpret_cast<uintptr_t>(buffer.data());
    return buffer.data() + ((64 - at % 64) % 64);
}

}  // namespace latent::kernels
