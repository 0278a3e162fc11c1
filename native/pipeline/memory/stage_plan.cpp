#include "pipeline/memory/stage_plan.h"

#include <algorithm>
#include <initializer_list>

#include "core/memory.h"
#include "pipeline/messages.h"

namespace latent::pipeline {
namespace {

constexpr int kTiles[] = {128, 96, 64, 48, 32};  // latent pixels; below 32 the blended strips dominate

}  // namespace

StagePlan plan_stage(const StagePlanRequest & request, const std::string & what,
                     const std::function<uint64_t(int64_t, int64_t)> & measure, const std::function<uint64_t()> & measure_bands) {
    const int64_t side = std::max(request.height, request.width);
    const auto call = [&](int tile) {
        return measure(std::min<int64_t>(tile, request.height), std::min<int64_t>(tile, request.width));
    };
    const auto refuse = [&](uint64_t least) {
        const uint64_t required = request.held + least;
        const uint64_t available = request.bound ? request.bound : request.held + request.budget;
        throw Error(ErrorCode::out_of_memory,
                    what + " needs " + mebibytes(required) + " with weights and images, " + mebibytes(available) + " may be used",
                    Json{{"required", required}, {"available", available}}.dump());
    };
    if (request.tile > 0 && request.tiling.value_or(true)) {
        const uint64_t bytes = call(request.tile);
        if (request.bound && bytes > request.budget) refuse(bytes);
        return {request.tile < side ? request.tile : 0, bytes};
    }
    const bool never = request.tiling.has_value() && !*request.tiling;
    const uint64_t whole = measure(request.height, request.width);
    uint64_t least = whole;
    if (measure_bands && !request.tiling.value_or(false)) {
        if (whole <= std::min(request.budget, request.bearable)) return {0, whole};
        const uint64_t bands = measure_bands();
        if (bands < whole && bands <= request.budget) return {0, bands, true};
        if (whole <= request.budget) return {0, whole};  // a small image: the stored maps take more than bands save
        if (never && !request.bound) return {0, std::min(bands, whole), bands < whole};
        least = std::min(bands, whole);
    }
    if (request.exact_tiles) {
        const uint64_t bearable = std::min(request.budget, request.bearable);
        StagePlan smallest{0, whole};
        if (whole <= bearable && !request.tiling.value_or(false)) return smallest;
        for (const int tile : kTiles) {
            if (never || tile >= side) continue;
            const uint64_t bytes = call(tile);
            if (bytes < smallest.bytes || smallest.tile == 0) smallest = {tile, bytes};
            if (bytes <= bearable) break;
        }
        if (smallest.bytes > request.budget && (!never || request.bound)) refuse(smallest.bytes);
        return smallest;
    }
    const bool larger = request.largest > 0 && side > request.largest;
    const bool always = request.tiling.value_or(larger);
    const int largest = request.largest > 0 ? request.largest : kLowMemoryTile;  // of requested tiles
    const bool small = side <= kTiles[std::size(kTiles) - 1];
    if (whole <= request.budget && (never || small || !always)) return {0, whole};
    if ((never || small) && !request.bound) return {0, whole};  // the system decides

    for (const int tile : kTiles) {
        if (never || tile >= side || (always && tile > largest)) continue;
        const uint64_t bytes = call(tile);
        if (bytes <= request.budget) return {tile, bytes};
        least = std::min(least, bytes);
    }
    if (whole <= request.budget) return {0, whole};
    refuse(least);
    return {};
}

uint64_t working_budget(uint64_t max_bytes, uint64_t held, uint64_t available) {
    const uint64_t system = available == UINT64_MAX ? UINT64_MAX : available / 10 * 8;  // leave room for the rest of the process
    if (max_bytes == 0) return system;
    return std::min(system, max_bytes > held ? max_bytes - held : 0);
}

void require_memory(uint64_t bytes, const std::string & what) {
    const uint64_t available = available_memory();
    if (available == 0 || bytes <= available) return;  // 0: unknown
    throw Error(ErrorCode::out_of_memory,
                what + " needs " + mebibytes(bytes) + " of memory, " + mebibytes(available) + " are available",
                Json{{"what", what}, {"required", bytes}, {"available", available}}.dump());
}

}  // namespace latent::pipeline
