#pragma once

#include <functional>

#include "pipeline/requests.h"

namespace latent::pipeline {

enum class TileBlend {
    ramp,             // weights rise and fall linearly across the strip that neighbours share
    border_distance,  // weights are the distance to the tile's border: LatentDiffusion.get_weighting of ddpm.py
};

/// Overlapping tiles, so that the memory of a network depends on the tile, not on the image. Differences from the separate group
/// norms of the tiles are blended over the overlap, so no seams are visible. The last tile of a row or column is aligned with the
/// edge, so every tile has the same size and uses the same graph.
struct TileGrid {
    int tile = 0;     // input pixels per side (clipped to the input)
    int overlap = 0;  // input pixels shared by neighbours
    TileBlend blend = TileBlend::ramp;

    /// For a first stage: neighbours share a quarter of a tile.
    static TileGrid for_tile(int tile) { return {tile, tile / 4, TileBlend::ramp}; }
    /// The super-resolution of the paper's code (notebook_helpers.py): neighbours share half a tile.
    static TileGrid for_upscaling(int tile) { return {tile, tile / 2, TileBlend::border_distance}; }
};

/// `run` maps one tile [1, c, th, tw] to [1, c', th * up / down, tw * up / down].
/// `up`/`down` is the size ratio output/input: {8, 1} for a decoder of factor 8, {1, 8} for its encoder (the tile and its
/// position are then multiples of `down`). Between tiles, cancellation is checked and progress reported (`phase`, in tiles; none:
/// no progress).
ImageTensor run_tiled(const ImageTensor & input, const TileGrid & grid, int up, int down, std::optional<Phase> phase,
                      const JobContext & job, const std::function<ImageTensor(const ImageTensor & tile)> & run);

/// The same for a network whose pixels depend on at most `halo` input pixels around them: each tile is computed with this margin,
/// which is then cut off, so the result equals the untiled one. `halo` is a multiple of `down`.
ImageTensor run_exact_tiles(const ImageTensor & input, int tile, int halo, int up, int down, Phase phase, const JobContext & job,
                            const std::function<ImageTensor(const ImageTensor & tile)> & run);

/// Weight of every pixel of a tile: its distance to the border over the tile's side, clipped to [0.01, 0.5].
std::vector<float> border_distance_weights(int64_t height, int64_t width);

/// Start positions of tiles of `size` over `length`, `stride` apart, the last one aligned with the end.
std::vector<int64_t> tile_starts(int64_t length, int64_t size, int64_t stride);

}  // namespace latent::pipeline
