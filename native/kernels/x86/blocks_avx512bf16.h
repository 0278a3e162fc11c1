#pragma once

#include <cstdint>

#include "kernels/common/tile.h"

namespace latent::kernels {

/// TileSet::convert_blocks with AVX-512.
bool convert_blocks_avx512bf16(Block type, const void * blocks, int64_t k, void * target);

}  // namespace latent::kernels
