#pragma once

#include <functional>

#include "pipeline/image/tiling.h"

namespace latent::pipeline {

constexpr uint64_t kWholeStage = 256ull << 20;  // bytes above which a first stage runs in bands: same result, less memory
constexpr int kLowMemoryTile = 64;              // latent pixels: `largest` in low-memory mode

/// What stays in memory of the weights of a network that runs, and of its hosts'.
struct KeptWeights {
    bool streamed = false;        // the network's weights beyond `bytes` are streamed, and its hosts' mapped weights are dropped
    uint64_t bytes = UINT64_MAX;  // of the network's own; UINT64_MAX: all
};

/// How a network is run over an image: whole, or in tiles of `tile` latent pixels.
struct StagePlan {
    int tile = 0;        // 0: whole
    uint64_t bytes = 0;  // of one call
    bool bands = false;  // layer by layer in bands of rows, without tiles
    uint64_t held = 0;   // other resident bytes
    KeptWeights weights;
};

struct StagePlanRequest {
    int64_t height = 0, width = 0;   // latent pixels
    uint64_t budget = 0;             // bytes that one call may take, UINT64_MAX: no limit
    std::optional<bool> tiling;      // the caller's choice
    int tile = 0;                    // the caller's tile, 0: chosen
    int largest = 0;                 // use tiles if the image is larger than this, 0: only if the budget requires it
    uint64_t bearable = UINT64_MAX;  // use bands, if available, above this many bytes
    bool exact_tiles = false;        // tiles give the same result, so they are used above `bearable`
    uint64_t held = 0, bound = 0;    // other resident bytes, and the total that may be used (0: unknown), for messages
};

/// Chooses bands or exact tiles if a call on the whole image takes more than `bearable`; else the largest tile whose call fits
/// the budget. `measure(height, width)` gives the bytes of one call for a size in latent pixels, `measure_bands` those of the
/// whole image in bands (empty: no bands). Throws out_of_memory with the numbers if nothing fits; `required` and `available`
/// include `held`.
StagePlan plan_stage(const StagePlanRequest & request, const std::string & what,
                     const std::function<uint64_t(int64_t height, int64_t width)> & measure,
                     const std::function<uint64_t()> & measure_bands = nullptr);

/// Bytes for working memory: the caller's limit less `held`, or most of the available memory.
uint64_t working_budget(uint64_t max_bytes, uint64_t held, uint64_t available);

/// Throws out_of_memory with the numbers if this many bytes of plain memory (latents, images) are not available: allocating them
/// could get the process killed.
void require_memory(uint64_t bytes, const std::string & what);

}  // namespace latent::pipeline
