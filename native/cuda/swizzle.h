#pragma once

#include "cuda/device_code.h"

namespace latent::cuda {

/// The address of eight columns of a row of a stage. Groups of eight are swapped within a row so that the eight rows of a matrix
/// lie in different banks.
LATENT_DEVICE int swizzled(int row, int eight) {
    return row * 64 + ((eight ^ (row & 7)) * 8);
}

/// The place of a column of a finished tile, float32: fours change places in every other 32 columns, so that threads that read
/// eight columns each, four at a time, find them in different banks.
LATENT_DEVICE int result_column(int column) {
    return column ^ (column >> 3 & 4);
}
/// Eight columns of such a row, from a multiple of eight.
LATENT_DEVICE void load_result(const float * row, int column, float * v) {
    const int place = result_column(column);
    const Float4 a = load(reinterpret_cast<const Float4 *>(row + place)),
                 b = load(reinterpret_cast<const Float4 *>(row + (place ^ 4)));
    LATENT_UNROLL
    for (int i = 0; i < 4; ++i) v[i] = a.v[i], v[4 + i] = b.v[i];
}

}  // namespace latent::cuda
