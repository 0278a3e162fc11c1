#pragma once

#include <functional>

#include "pipeline/image/tiling.h"

namespace latent::pipeline {

constexpr uint64_t kWholeStage = 256ull << 20;  // bytes above which a first stage works in bands: the same result, less memory
constexpr int kLowMemoryTile = 64;              // latent pixels: `largest` where memory is to be spared

/// How a network is run over an image: whole, or in tiles of `tile` latent pixels.
struct StagePlan {
    int tile = 0;        // 0: whole
    uint64_t bytes = 0;  // of one call
    bool bands = false;  // layer by layer in bands of rows, not tiled
    uint64_t held = 0;   // bytes resident besides
};

struct StagePlanRequest {
    int64_t height = 0, width = 0;   // latent pixels
    uint64_t budget = 0;             // bytes that one call may take, UINT64_MAX: no bound
    std::optional<bool> tiling;      // the caller's wish
    int tile = 0;                    // the caller's tile, 0: chosen
    int largest = 0;                 // tiles whenever the image is larger than this, 0: only when the budget says so
    uint64_t bearable = UINT64_MAX;  // bands, if there are any, rather than more than this
    bool exact_tiles = false;        // tiles give what the whole gives: as soon as the whole is more than bearable
    uint64_t held = 0, bound = 0;    // bytes resident besides, and what may be used in all (0: unknown): told in a refusal
};

/// Chooses bands, or exact tiles, where a call on the whole image is more than bearable; else the largest tile whose call fits
/// the budget. `measure(height, width)` gives the bytes of one call for that many latent pixels, `measure_bands` those of the
/// whole image in bands (none: there are no bands). Throws out_of_memory with the numbers when nothing fits: `required` and
/// `available` count what is held as well.
StagePlan plan_stage(const StagePlanRequest & request, const std::string & what,
                     const std::function<uint64_t(int64_t height, int64_t width)> & measure,
                     const std::function<uint64_t()> & measure_bands = nullptr);

/// Bytes for working memory: what the caller's bound leaves beside `held`, or most of what the system has available.
uint64_t working_budget(uint64_t max_bytes, uint64_t held, uint64_t available);

/// Throws out_of_memory with the numbers when this many bytes of plain memory (latents, images) are more than the system has
/// available: asking for them could end in the whole process being killed.
void require_memory(uint64_t bytes, const std::string & what);

}  // namespace latent::pipeline
