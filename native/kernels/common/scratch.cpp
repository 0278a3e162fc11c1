#include "kernels/common/scratch.h"

#include <cstdint>
#include <vector>

namespace latent::kernels {

void * scratch(Scratch use, size_t bytes) {
    thread_local std::vector<uint8_t> buffers[static_cast<int>(Scratch::count)];
    std::vector<uint8_t> & buffer = buffers[static_cast<int>(use)];
    if (buffer.size() < bytes + 64) buffer.resize(bytes + 64);
    const uintptr_t at = reinterpret_cast<uintptr_t>(buffer.data());
    return buffer.data() + ((64 - at % 64) % 64);
}

}  // namespace latent::kernels
