#pragma once

#include "cuda/product.h"

namespace latent::cuda {

/// x + W x + bias, W having square blocks on its diagonal, after a permutation. Without a distance the blocks follow each other;
/// with one, a block has two runs of size / 2 channels, so far apart.
struct BlockArgs {
    const void * x = nullptr;      // rows of channels
    WeightView w;                  // plain, [blocks * size][size, padded]; one block: for all
    const float * bias = nullptr;  // padded
    void * y = nullptr;
    int m = 0;  // rows
    int channels = 0, stride = 0;
    int size = 0, distance = 0;

    /// The channel of index `i` in a block.
    LATENT_DEVICE int position(int block, int i) const {
        if (distance == 0) return block * size + i;
        const int run = size / 2, across = distance / run;
        return block / across * 2 * distance + i / run * distance + block % across * run + i % run;
    }
    /// The first row of a block's weights.
    LATENT_DEVICE size_t weight_row(int block) const { return w.rows == size ? 0 : static_cast<size_t>(block) * size; }
};

/// The blocks, or parts of one, that a group of threads multiplies: 64 columns of each of 64 rows.
int64_t block_tiles(int64_t channels, int64_t size);

/// Sums on tensor cores, of blocks of any size; those below 16 and between are padded there.
template <typename T>
void add_blocks(const BlockArgs & p, cudaStream_t stream);
/// The same for a few rows in float32; T is the type of the weights.
template <typename T>
void add_vector_blocks(const BlockArgs & p, cudaStream_t stream);

}  // namespace latent::cuda
