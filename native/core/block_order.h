#pragma once

#include <cstdint>

namespace latent {

/// The channels of the blocks of a matrix that has square blocks on its diagonal, after a permutation. With a distance, a block
/// has two runs of size / 2 channels, so far apart (the butterflies of BOFT); without one, the blocks follow each other.
struct BlockOrder {
    int64_t size = 0, distance = 0;

    int64_t pieces() const { return distance > 0 ? 2 : 1; }
    /// Channels of a piece.
    int64_t run() const { return size / pieces(); }
    /// Blocks between the two pieces of one, with it.
    int64_t across() const { return distance > 0 ? distance / run() : 1; }
    /// The channel of index `i` in a block.
    int64_t position(int64_t block, int64_t i) const {
        if (distance == 0) return block * size + i;
        return block / across() * 2 * distance + i / run() * distance + block % across() * run() + i % run();
    }
};

}  // namespace latent
