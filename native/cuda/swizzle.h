#pragma once

#include "cuda/device_code.h"

namespace latent::cuda {

/// The address of eight columns of a row of a stage. Groups of eight are swapped within a row so that the eight rows of a matrix
/// lie in different banks.
LATENT_DEVICE int swizzled(int row, int eight) {
    return row * 64 + ((eight ^ (row & 7)) * 8);
}

}  // namespace latent::cuda
