#pragma once

#include "cuda/product.h"

namespace latent::cuda {

/// Eight stored weights of one row and one tap: loaded a step ahead and converted to values when needed.
template <typename T, WeightKind kind, bool spatial>
struct WeightChunk;

template <typename T, bool spatial>
struct WeightChunk<T, WeightKind::plain, spatial> {
    Chunk raw;
    LATENT_DEVICE void fetch(const WeightView & w, int row, int tap, int channel) {
        const size_t at = (static_cast<size_t>(row) * w.taps + tap) * w.in + channel;
        raw = load(reinterpret_cast<const Chunk *>(static_cast<const T *>(w.data) + at));
    }
    LATENT_DEVICE void values(float * v) const { unpack<T>(raw, v); }
};

/// The group of 32 of the weight at (channel, tap); groups follow the stored order, taps innermost.
template <bool spatial>
LATENT_DEVICE int group_of(const WeightView & w, int tap, int channel) {
    return spatial ? (channel * w.taps + tap) >> 5 : channel >> 5;
}

struct alignas(8) Pair {
    uint32_t word[2];
};

template <typename T, bool spatial>
struct WeightChunk<T, WeightKind::int8, spatial> {
    static constexpr int kScales = spatial ? 8 : 1;
    Pair raw;
    f16 scale[kScales];
    LATENT_DEVICE void fetch(const WeightView & w, int row, int tap, int channel) {
        const size_t at = (static_cast<size_t>(row) * w.taps + tap) * w.in + channel;
        raw = load(reinterpret_cast<const Pair *>(static_cast<const int8_t *>(w.data) + at));
        const f16 * scales = static_cast<const f16 *>(w.scales) + static_cast<size_t>(row) * w.groups;
        LATENT_UNROLL
        for (int i = 0; i < kScales; ++i) scale[i] = load(scales + group_of<spatial>(w, tap, channel + i));
    }
    LATENT_DEVICE void values(float * v) const {
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) {
            const auto q = static_cast<int8_t>(raw.word[i / 4] >> (i % 4 * 8) & 0xffu);
            v[i] = static_cast<float>(q) * to_float(scale[spatial ? i : 0]);
        }
    }
};

template <typename T, bool spatial>
struct WeightChunk<T, WeightKind::int4, spatial> {
    static constexpr int kScales = spatial ? 8 : 1;
    uint32_t raw;
    uint32_t scale[kScales];
    LATENT_DEVICE void fetch(const WeightView & w, int row, int tap, int channel) {
        const size_t at = (static_cast<size_t>(row) * w.taps + tap) * w.in + channel;
        raw = load(reinterpret_cast<const uint32_t *>(static_cast<const uint8_t *>(w.data) + at / 2));
        const uint32_t * scales = static_cast<const uint32_t *>(w.scales) + static_cast<size_t>(row) * w.groups;
        LATENT_UNROLL
        for (int i = 0; i < kScales; ++i) scale[i] = load(scales + group_of<spatial>(w, tap, channel + i));
    }
    LATENT_DEVICE void values(float * v) const {
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) {
            const uint32_t s = scale[spatial ? i : 0];
            const float minimum = to_float(f16{static_cast<uint16_t>(s >> 16)});
            v[i] = static_cast<float>(raw >> (i * 4) & 15u) * to_float(f16{static_cast<uint16_t>(s & 0xffffu)}) - minimum;
        }
    }
};

}  // namespace latent::cuda
