#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace latent::kernels {

/// A growing buffer of this thread, one per `slot`; 64-byte aligned, contents undefined. Freed with the thread.
inline void * scratch(int slot, size_t bytes) {
    thread_local std::vector<uint8_t> buffers[4];
    std::vector<uint8_t> & buffer = buffers[slot];
    if (buffer.size() < bytes + 64) buffer.resize(bytes + 64);
    const uintptr_t at = reinterpret_cast<uintptr_t>(buffer.data());
    return buffer.data() + ((64 - at % 64) % 64);
}

}  // namespace latent::kernels
