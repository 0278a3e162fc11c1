#pragma once

#include <algorithm>

#include "cuda/device_code.h"

// Kernels on rows: a loop over items, in which each thread advances by those of all threads.

namespace latent::cuda {

constexpr int kRowThreads = 256;

/// Blocks of such a loop.
inline unsigned row_blocks(size_t items) {
    return static_cast<unsigned>(std::clamp<size_t>((items + kRowThreads - 1) / kRowThreads, 1, 1 << 16));
}

LATENT_DEVICE size_t first_item() {
    return static_cast<size_t>(blockIdx.x) * kRowThreads + threadIdx.x;
}
LATENT_DEVICE size_t item_step() {
    return static_cast<size_t>(gridDim.x) * kRowThreads;
}

template <typename T>
LATENT_DEVICE T zero() {
    T v;
    from_float(0.0f, v);
    return v;
}

}  // namespace latent::cuda
