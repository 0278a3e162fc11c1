#include <cmath>

#include "check.h"
#include "models/stored_map.h"

// Maps of several bands, written and read in pieces that straddle them.

using namespace latent;
using models::MapMemory;
using models::StoredMap;

namespace {

constexpr int64_t kChannels = 128, kHeight = 97, kWidth = 520;

float value(int64_t row, int64_t at) {
    return static_cast<float>((row * 131 + at * 7) % 1000) / 128.0f;
}

std::vector<float> rows(int64_t first, int64_t count) {
    std::vector<float> out;
    for (int64_t row = first; row < first + count; ++row)
        for (int64_t i = 0; i < kWidth * kChannels; ++i) out.push_back(value(row, i));
    return out;
}

/// Writes a whole map in pieces of `step` rows.
void fill(StoredMap & map, int64_t step, const StoredMap * residual, bool plan) {
    for (int64_t first = 0; first < kHeight; first += step) {
        const int64_t count = std::min(step, kHeight - first);
        std::vector<float> values = plan ? std::vector<float>() : rows(first, count);
        CHECK(map.write(first, count, values.data(), residual, nullptr));
    }
}

}  // namespace

TEST(maps_of_several_bands_give_back_what_was_written) {
    for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
        const float bound = type == DType::f32 ? 0.0f : type == DType::f16 ? 0.005f : 0.04f;
        MapMemory memory;
        StoredMap a(kChannels, kHeight, kWidth, type, false, memory), b(kChannels, kHeight, kWidth, type, false, memory);
        CHECK(a.band_bytes() < static_cast<uint64_t>(kChannels * kHeight * kWidth * dtype_block_bytes(type)));
        memory.expect(a.band_bytes());
        fill(a, 5, nullptr, false);
        fill(b, 7, &a, false);
        std::vector<float> read(static_cast<size_t>(11 * kWidth * kChannels));
        for (const int64_t first : {int64_t{0}, int64_t{13}, kHeight - 11}) {
            b.read(first, 11, read.data(), nullptr);
            float worst = 0;
            for (size_t i = 0; i < read.size(); ++i) {
                const int64_t at = static_cast<int64_t>(i);
                worst =
                    std::max(worst, std::fabs(read[i] - 2 * value(first + at / (kWidth * kChannels), at % (kWidth * kChannels))));
            }
            CHECK(worst <= 2 * bound);
        }
        // Rows that are still needed outlast the release of those before them, and freed bands serve the next map.
        a.free_before(20);
        StoredMap c(kChannels, kHeight, kWidth, type, false, memory);
        const uint64_t peak = memory.peak();
        std::vector<float> values = rows(0, 9);
        CHECK(c.write(0, 9, values.data(), nullptr, nullptr));
        CHECK(memory.peak() == peak);
        a.read(26, 11, read.data(), nullptr);
        CHECK(std::fabs(read[3] - value(26, 3)) <= bound);
    }
}

TEST(a_plan_counts_what_maps_hold) {
    const auto course = [](bool plan) {
        MapMemory memory;
        StoredMap a(kChannels, kHeight, kWidth, DType::f16, plan, memory);
        memory.expect(a.band_bytes());
        fill(a, 6, nullptr, plan);
        StoredMap b(kChannels, kHeight, kWidth, DType::f16, plan, memory);
        for (int64_t first = 0; first < kHeight; first += 6) {
            const int64_t count = std::min<int64_t>(6, kHeight - first);
            std::vector<float> values = plan ? std::vector<float>() : rows(first, count);
            CHECK(b.write(first, count, values.data(), &a, nullptr));
            a.free_before(first + count);
        }
        memory.expect(0);
        memory.touch(1000);
        return memory.peak();
    };
    const uint64_t bytes = static_cast<uint64_t>(kChannels * kHeight * kWidth * 2), peak = course(false);
    CHECK(peak == course(true));
    CHECK(peak >= bytes);
    CHECK(peak < bytes * 8 / 5);  // freed bands were reused
}
