#pragma once

#include <cstdint>

#include "core/block_order.h"
#include "kernels/common/matmul.h"
#include "kernels/common/share.h"
#include "kernels/common/tile.h"
#include "kernels/common/vectors.h"

namespace latent::kernels {

/// Tokens that are multiplied by a matrix of blocks.
struct BlockShape {
    int64_t tokens = 0, channels = 0;
    BlockOrder order;

    int64_t blocks() const { return channels / order.size; }
};

/// out[token] = x[token] + W x[token] + bias, which may be null. `rows`: x in the tile set's element type (rows.h), for bfloat16
/// with an even run. `w`: the rows of all blocks one after the other, [blocks * size, size], or one block for all, [size, size];
/// f32, f16 or bf16.
void block_product(const TileSet & tiles, const VectorSet & vectors, const BlockShape & shape, const float * x, const void * rows,
                   const Matrix & w, const float * bias, float * out, Share share);

/// The set for blocks with this run, among those of an arithmetic.
const TileSet & block_tiles(Arithmetic arithmetic, int64_t run);

/// Scratch bytes per thread.
int64_t block_scratch(const TileSet & tiles, const BlockShape & shape);

/// Tokens of `columns` groups of `width` channels.
struct MixShape {
    int64_t tokens = 0, rows = 0, columns = 0, width = 0;
};

/// out[token][i] = added[token][i] + sum over j of w[i][j] x[token][j], where i and j are groups of channels. `added` may be
/// null.
void mix(const MixShape & shape, const float * x, const float * w, const float * added, float * out, Share share);

}  // namespace latent::kernels
