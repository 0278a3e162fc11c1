#pragma once

#include <functional>

#include "pipeline/pipeline.h"

namespace latent::pipeline {

/// Runs a first stage over overlapping tiles and blends them, so that its working set depends on the tile and not on the picture.
/// Neighbouring tiles share a quarter of a tile, and across that strip their weights rise and fall linearly and sum to one:
/// the small differences that the group norms of separate tiles make are spread over the strip and leave no edge.
/// The last tile of a row or column is aligned with the edge, so every tile has the same size and one graph serves all.
struct TileGrid {
    int tile = 0;     // input pixels per side (clipped to the input)
    int overlap = 0;  // input pixels shared by neighbours

    static TileGrid for_tile(int tile) { return {tile, tile / 4}; }
};

/// `run` maps one tile [1, c, th, tw] to [1, c', th * up / down, tw * up / down].
/// `up`/`down` is the size ratio output/input: {8, 1} for a decoder of factor 8, {1, 8} for its encoder (the tile and its
/// position are then multiples of `down`). Cancel is checked and progress reported (`phase`, tiles) between tiles.
ImageTensor run_tiled(const ImageTensor & input, const TileGrid & grid, int up, int down, Phase phase, const JobContext & job,
                      const std::function<ImageTensor(const ImageTensor & tile)> & run);

/// Start positions of tiles of `size` over `length`, `stride` apart, the last one aligned with the end.
std::vector<int64_t> tile_starts(int64_t length, int64_t size, int64_t stride);

}  // namespace latent::pipeline
