#include "pipeline/memory_plan.h"

#include <algorithm>
#include <initializer_list>

#include "core/memory.h"

namespace latent::pipeline {
namespace {

constexpr int kTiles[] = {128, 96, 64, 48, 32};  // latent pixels; below 32 the blended strips dominate

}  // namespace

StagePlan plan_stage(const StagePlanRequest & request, const std::string & what,
                     const std::function<uint64_t(int64_t, int64_t)> & measure) {
    const int64_t side = std::max(request.height, request.width);
    const auto call = [&](int tile) {
        return measure(std::min<int64_t>(tile, request.height), std::min<int64_t>(tile, request.width));
    };
    if (request.tile > 0 && request.tiling.value_or(true)) {
        return request.tile < side ? StagePlan{request.tile, call(request.tile)} : StagePlan{0, call(request.tile)};
    }
    const bool never = request.tiling.has_value() && !*request.tiling;
    const bool larger = request.largest > 0 && side > request.largest;
    const bool always = request.tiling.value_or(larger);
    const int largest = request.largest > 0 ? request.largest : kLowMemoryTile;  // of tiles that somebody asked for

    const uint64_t whole = measure(request.height, request.width);
    if (never || side <= kTiles[std::size(kTiles) - 1]) return {0, whole};
    if (!always && whole <= request.budget) return {0, whole};

    uint64_t least = whole;
    for (const int tile : kTiles) {
        if (tile >= side || (always && tile > largest)) continue;
        least = call(tile);
        if (least <= request.budget) return {tile, least};
    }
    if (whole <= request.budget) return {0, whole};
    const Json details = {{"required", least}, {"available", request.budget}, {"whole", whole}};
    throw Error(ErrorCode::out_of_memory,
                what + " needs " + std::to_string(least >> 20) + " MiB even in tiles, " + std::to_string(request.budget >> 20) +
                    " MiB may be used: choose a smaller size or raise memory.maxBytes",
                details.dump());
}

uint64_t working_budget(uint64_t max_bytes, uint64_t held, uint64_t available) {
    const uint64_t system = available == UINT64_MAX ? UINT64_MAX : available / 10 * 8;  // leave room for the rest of the process
    if (max_bytes == 0) return system;
    return std::min(system, max_bytes > held ? max_bytes - held : 0);
}

void require_memory(uint64_t bytes, const std::string & what) {
    const uint64_t available = available_memory();
    if (available == 0 || bytes <= available) return;  // 0: the system does not tell
    throw Error(ErrorCode::out_of_memory,
                what + " needs " + std::to_string(bytes >> 20) + " MiB of memory, " + std::to_string(available >> 20) +
                    " MiB are available",
                Json{{"what", what}, {"required", bytes}, {"available", available}}.dump());
}

}  // namespace latent::pipeline
