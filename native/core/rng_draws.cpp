#include "core/rng_draws.h"

#include <utility>

namespace latent {

void fill_words(RngKind kind, uint64_t seed, Span<uint32_t> out) {
    if (kind == RngKind::mt19937) {
        TorchGenerator generator(seed);
        for (uint32_t & word : out) word = generator.next_u32();
        return;
    }
    const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
    for (size_t i = 0; i < out.size(); i += 4) {
        const auto words = PhiloxGenerator::block({0, 0, static_cast<uint32_t>(i / 4), 0}, key);
        for (size_t j = 0; j < 4 && i + j < out.size(); ++j) out[i + j] = words[j];
    }
}

void fill_uniform(uint64_t seed, Span<float> out) {
    TorchGenerator generator(seed);
    for (float & value : out) value = generator.uniform_float();
}

void fill_integers(uint64_t seed, int64_t low, int64_t high, Span<int32_t> out) {
    TorchGenerator generator(seed);
    const uint64_t range = static_cast<uint64_t>(high - low);
    for (int32_t & value : out) {
        const uint64_t word = range >> 32 != 0 ? generator.next_u64() : generator.next_u32();
        value = static_cast<int32_t>(low + static_cast<int64_t>(word % range));
    }
}

void fill_permutation(uint64_t seed, Span<int32_t> out) {
    TorchGenerator generator(seed);
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<int32_t>(i);
    for (size_t i = 0; i + 1 < out.size(); ++i) std::swap(out[i], out[i + generator.next_u32() % (out.size() - i)]);
}

}  // namespace latent
